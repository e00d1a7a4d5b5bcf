//! A segment table after any damage: opening and looking up end in an answer, and sound tables find what was put in.
#![no_main]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tana_fuzz::{Input, edit};
use tana_store::{Table, TableBuilder};

static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("table");
    let mut builder = TableBuilder::new(&path);
    for key in 0..600u64 {
        builder.add(key / 2 * 1_000, key).expect("room");
    }
    builder.finish().expect("a table");
    fs::read(&path).expect("the table")
});

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let mut content = GOOD.clone();
    let edited = edit(&mut content, &mut input);
    let key = u64::from(input.u16()) % 400 * 1_000;
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a folder");
    let path = folder.path().join("table");
    fs::write(&path, &content).expect("room for a file");
    let Ok(table) = Table::open(&path) else {
        assert!(edited);
        return;
    };
    let found = table.lookup(key);
    let _ = table.lookup_range(key, Some(input.u64()), 3);
    let _ = table.lookup_range_descending(key, Some(input.u64()), 3);
    if !edited {
        assert_eq!(found.expect("a sound table").len(), if key < 300_000 { 2 } else { 0 });
    }
});
