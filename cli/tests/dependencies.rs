//! The direction of dependencies: stages know only stages; net and store know nothing of the workspace; consensus knows stages and net;
//! the engine knows all four; the sidecar reads with the engine's readers; tools stand on top. Read from what cargo itself says about the manifests.

use std::process::Command;

use serde_json::Value;

/// Folders of the workspace, and which folders each may use. `bench` may use everything.
const ALLOWED: &[(&str, &[&str])] = &[
    ("stages", &["stages"]),
    ("net", &[]),
    ("store", &[]),
    ("consensus", &["consensus", "stages", "net"]),
    ("engine", &["consensus", "stages", "net", "store"]),
    ("sidecar", &["sidecar", "engine", "consensus", "net", "store", "stages"]),
    ("cli", &["sidecar", "engine", "consensus", "tx-gen", "net", "store", "stages"]),
    ("tx-gen", &["stages", "net"]),
    ("bench", &["bench", "sidecar", "engine", "cli", "tx-gen", "net", "store", "stages"]),
];

/// A package of the workspace: its name, its folder from the root, the folders that it uses, and the outside packages.
struct Package {
    name: String,
    folder: String,
    uses: Vec<String>,
    outside: Vec<String>,
}

fn top(folder: &str) -> &str {
    folder.split('/').next().unwrap_or(folder)
}

fn may_use(user: &str, used: &str) -> bool {
    ALLOWED.iter().any(|(folder, allowed)| *folder == top(user) && allowed.contains(&top(used)))
}

fn workspace() -> Vec<Package> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo is there: it runs this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let root = metadata["workspace_root"].as_str().expect("a path").to_owned() + "/";
    let relative = |path: &str| path.strip_prefix(&root).unwrap_or(path).trim_end_matches("/Cargo.toml").to_owned();
    let package = |package: &Value| {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        // Tests may use anything; what ships may not.
        let shipped = |dependency: &&Value| dependency["kind"] != "dev";
        let dependencies: Vec<&Value> =
            package["dependencies"].as_array().expect("a list").iter().filter(shipped).collect();
        Package {
            name: text(&package["name"]),
            folder: relative(package["manifest_path"].as_str().expect("a path")),
            uses: dependencies.iter().filter_map(|dependency| dependency["path"].as_str().map(relative)).collect(),
            outside: dependencies
                .iter()
                .filter(|other| other["path"].is_null())
                .map(|other| text(&other["name"]))
                .collect(),
        }
    };
    metadata["packages"].as_array().expect("a list").iter().map(package).collect()
}

#[test]
fn packages_use_only_what_lies_below_them() {
    let packages = workspace();
    assert!(packages.len() > 8, "the workspace was not found");
    let bad: Vec<String> = packages
        .iter()
        .flat_map(|package| package.uses.iter().map(move |used| (package, used)))
        .filter(|(package, used)| !may_use(&package.folder, used))
        .map(|(package, used)| format!("{} uses {used}", package.folder))
        .collect();
    assert!(bad.is_empty(), "against the direction of dependencies: {bad:?}");
}

#[test]
fn every_folder_has_its_rule_and_every_package_its_folders_name() {
    for package in workspace() {
        assert!(ALLOWED.iter().any(|(folder, _)| *folder == top(&package.folder)), "no rule for {}", package.folder);
        let folder = package.folder.rsplit('/').next().unwrap_or_default();
        let expected = if folder == "tx-gen" { "tx-gen".to_owned() } else { format!("tana-{folder}") };
        assert_eq!(package.name, expected, "in {}", package.folder);
    }
}

#[test]
fn only_consensus_and_bench_name_commonware() {
    for package in workspace() {
        let named = package.outside.iter().any(|name| name.starts_with("commonware"));
        let may = ["consensus", "bench"].contains(&top(&package.folder));
        assert!(!named || may, "{} names a commonware package", package.folder);
    }
}

#[test]
fn the_rule_forbids_what_it_should() {
    assert!(may_use("stages/lane", "stages/types"));
    assert!(may_use("engine", "store"));
    for (user, used) in [
        ("stages/ingest", "net"),
        ("net", "stages/types"),
        ("store", "stages/types"),
        ("tx-gen", "engine"),
        ("engine", "cli"),
        ("consensus", "engine"),
        ("net", "consensus"),
        ("cli", "bench"),
        ("unknown", "stages/types"),
    ] {
        assert!(!may_use(user, used), "{user} must not use {used}");
    }
}
