//! Load files: what is saved is read, and nothing else is.

use super::*;
use crate::load::sign_load;
use crate::plan::Shares;
use crate::testing::{genesis, transactions};

fn signed() -> Load {
    let shares = Shares { creations: 0.1, ..Shares::default() };
    let plan = LoadPlan {
        accounts: 20,
        connections: 2,
        count: 9_000,
        shares,
        timestamp_ms: Some(u64::MAX / 2),
        ..LoadPlan::default()
    };
    sign_load(&genesis(20), &plan, &mut |_| ()).unwrap()
}

#[test]
fn a_saved_load_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("load");
    let signed = signed();
    save(&signed, &path).unwrap();
    let read = load(&path, &signed.genesis_hash).unwrap();
    assert_eq!(read.plan, signed.plan);
    assert_eq!(read.frame_transactions, signed.frame_transactions);
    assert!(transactions(&read) == transactions(&signed));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn another_chain_and_other_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("load");
    save(&signed(), &path).unwrap();
    assert!(matches!(load(&path, &[9; 32]), Err(FileError::OtherChain { .. })));
    assert!(matches!(load(&folder.path().join("none"), &[9; 32]), Err(FileError::Io { .. })));
    std::fs::write(&path, b"something else entirely").unwrap();
    assert!(matches!(load(&path, &[9; 32]), Err(FileError::NotALoad(_))));
    std::fs::write(&path, b"TANALOAD\x02\0\0\0\0\0\0\0").unwrap();
    assert!(matches!(load(&path, &[9; 32]), Err(FileError::Version { version: 2, .. })));
    std::fs::write(&path, b"TANALOAD\x01\0\0\0\xff\xff\xff\xff").unwrap();
    assert!(matches!(load(&path, &[9; 32]), Err(FileError::Damaged { .. })));
}

#[test]
fn every_damage_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("load");
    let signed = signed();
    save(&signed, &path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        load(&path, &signed.genesis_hash).is_err()
    };
    for place in [0, 9, 13, 20, 200, bytes.len() / 2, bytes.len() - 33, bytes.len() - 1] {
        let mut bent = bytes.clone();
        bent[place] ^= 4;
        assert!(refused(&bent), "bit flipped at {place}");
    }
    for length in [0, 7, 15, 16, 40, 1_000, bytes.len() / 2, bytes.len() - 1] {
        assert!(refused(&bytes[..length]), "cut to {length}");
    }
    assert!(refused(&[&bytes[..], &[0]].concat()), "one byte more");
    assert!(!refused(&bytes));
}

#[test]
fn chunks_that_are_not_whole_frames_are_refused() {
    let signed = signed();
    let chunk = &signed.connections[0].chunks[0];
    assert_eq!(count_transactions(chunk, 64), Some(4_096));
    assert_eq!(count_transactions(chunk, 63), None, "a frame has too many");
    assert_eq!(count_transactions(chunk, 65), None, "a frame within has too few");
    assert_eq!(count_transactions(&chunk[..chunk.len() - 1], 64), None);
    assert_eq!(count_transactions(&[0; 8], 64), None);
}
