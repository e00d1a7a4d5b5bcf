//! `tana token`: what is made can be read, and every mistake is told.
#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod support;

use std::io::Write;
use std::process::Stdio;

use support::TestHome;

#[test]
fn a_token_is_made_and_read_back() {
    let home = TestHome::initialised("token");
    let issued = home.tana(&["token", "issue", "--service", "ledger", "--audience", "mesh", "--json"]).json(0);
    let key = home.tana(&["keys", "show", "validator", "--json"]).json(0)["public_key"].as_str().unwrap().to_owned();
    assert_eq!(issued["node"], format!("val_{}", &key["ed25519_".len()..][..8]));
    let life = issued["expires_ms"].as_u64().unwrap() - issued["issued_ms"].as_u64().unwrap();
    assert_eq!(life, 3_600_000);
    let token = issued["token"].as_str().unwrap();
    assert!(token.starts_with("v4.public."));

    let read = home.tana(&["token", "inspect", token, "--json"]).json(0);
    for field in ["service", "node", "audience", "issued_ms", "expires_ms"] {
        assert_eq!(read[field], issued[field], "{field}");
    }
    assert_eq!((&read["expired"], &read["signature_checked"]), (&false.into(), &false.into()));
    let checked = home.tana(&["token", "inspect", token, "--public-key", &key, "--json"]).json(0);
    assert_eq!(checked["signature_checked"], true);
    let shown = home.tana(&["token", "inspect", token]).ok().stdout;
    assert!(["ledger", "mesh", "not checked"].iter().all(|text| shown.contains(text)), "{shown}");

    home.tana(&["keys", "new", "@eve"]).ok();
    let eve = home.tana(&["keys", "show", "@eve", "--json"]).json(0)["public_key"].as_str().unwrap().to_owned();
    home.tana(&["token", "inspect", token, "--public-key", &eve]).fails(1, &["not signed by the node"]);
}

#[test]
fn only_the_token_stands_in_the_pipe() {
    let home = TestHome::initialised("token");
    home.tana(&["keys", "new", "--out", "node.json"]).ok();
    let arguments = "token issue --service content --audience ledger --key node.json --node-id a.b --lifetime 60";
    let ran = home.tana(&arguments.split(' ').collect::<Vec<_>>()).ok();
    assert_eq!((ran.stdout.lines().count(), ran.stderr.as_str()), (1, ""));
    let mut child = home
        .command(&["token", "inspect", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(ran.stdout.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let read: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&read["service"], &read["node"], &read["audience"]),
        (&"content".into(), &"a.b".into(), &"ledger".into())
    );
    assert_eq!(read["expires_ms"].as_u64().unwrap() - read["issued_ms"].as_u64().unwrap(), 60_000);
}

#[test]
fn mistakes_are_told() {
    let home = TestHome::initialised("token");
    let issue = |arguments: &[&str]| {
        let first = ["token", "issue"];
        home.tana(&first.iter().chain(arguments).copied().collect::<Vec<_>>())
    };
    issue(&["--audience", "mesh"]).fails(2, &["--service"]);
    issue(&["--service", "ledger"]).fails(2, &["--audience"]);
    issue(&["--service", "t4", "--audience", "mesh"]).fails(2, &["there are ledger, content"]);
    issue(&["--service", "ledger", "--audience", "the mesh"]).fails(2, &["audience"]);
    issue(&["--service", "ledger", "--audience", "mesh", "--node-id", "a b"]).fails(2, &["node"]);
    for lifetime in ["0", "86401", "x", "-1"] {
        issue(&["--service", "ledger", "--audience", "mesh", &format!("--lifetime={lifetime}")])
            .fails(2, &["--lifetime"]);
    }
    issue(&["--service", "ledger", "--audience", "mesh", "--key", "@nobody"]).fails(1, &["@nobody.json"]);
    for token in ["x", "v4.public.AAAA", "v4.local.AAAA"] {
        home.tana(&["token", "inspect", token]).fails(1, &["the token cannot be read"]);
    }
    home.tana(&["token", "inspect", "x", "--public-key", "ed25519_00"]).fails(2, &["--public-key"]);
    for command in ["issue", "inspect"] {
        assert!(home.tana(&["token", command, "--help"]).ok().stdout.contains("Examples:"));
    }
}
