//! A log folder after any damage to its segment files: opening it ends in an answer, and whatever it then holds is a prefix of what was
//! written, readable to its end.
#![no_main]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use crossbeam::channel::bounded;
use libfuzzer_sys::fuzz_target;
use tana_fuzz::{Input, edit};
use tana_store::{LogBackend, LogConfig, LogReader, LogThread, LogWrite};

/// What was written: number, then so many bytes.
struct Write(Vec<u8>);

impl LogWrite for Write {
    fn log(&self) -> usize {
        0
    }
    fn kind(&self) -> u8 {
        1
    }
    fn parts(&self) -> [&[u8]; 4] {
        [&self.0, &[], &[], &[]]
    }
}

fn config(directory: &Path) -> LogConfig {
    let mut config = LogConfig::new(directory, &["log"]);
    config.segment_bytes = 20 << 10;
    config.group_bytes_max = 8 << 10;
    config.record_bytes_max = 4 << 10;
    config.backend = LogBackend::Plain;
    config.salt = Some(5);
    config
}

fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a folder for the log")
}

/// Opens the log, which repairs it, and ends again; whether it opened.
fn open(directory: &Path, writes: &[Vec<u8>]) -> bool {
    let (sender, receiver) = bounded::<Write>(64);
    let Ok(thread) = LogThread::start(config(directory), receiver, |_| {}, |_| {}) else { return false };
    for write in writes {
        sender.send(Write(write.clone())).expect("the log thread runs");
    }
    drop(sender);
    thread.join().is_ok()
}

/// The records that were written and the files that hold them.
struct Good {
    writes: Vec<Vec<u8>>,
    files: Vec<(String, Vec<u8>)>,
}

static GOOD: LazyLock<Good> = LazyLock::new(|| {
    let folder = scratch();
    let writes: Vec<Vec<u8>> = (0..12u8).map(|number| vec![number; 700 * usize::from(number % 5) + 3]).collect();
    for part in writes.chunks(4) {
        assert!(open(folder.path(), part));
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(folder.path().join("log")).expect("the log's folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a plain name");
        files.push((name, fs::read(entry.path()).expect("a file")));
    }
    files.sort();
    Good { writes, files }
});

fn read_all(directory: &Path) -> Result<Vec<Vec<u8>>, tana_store::StoreError> {
    let mut records = LogReader::open(directory, "log")?.iter()?;
    let mut read = Vec::new();
    while let Some(record) = records.next_record()? {
        read.push(record.payload.to_vec());
    }
    Ok(read)
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let folder = scratch();
    let log = folder.path().join("log");
    fs::create_dir_all(&log).expect("a folder");
    for (name, good) in &GOOD.files {
        let mut content = good.clone();
        edit(&mut content, &mut input);
        if input.u8() != 255 {
            fs::write(log.join(name), content).expect("room for a file");
        }
    }
    let _ = read_all(folder.path());
    if open(folder.path(), &[]) {
        let read = read_all(folder.path()).expect("a log that opened is readable");
        assert!(read.len() <= GOOD.writes.len() && read == GOOD.writes[..read.len()], "not a prefix");
        assert!(open(folder.path(), &[]), "a log that was repaired opens again");
    }
});
