//! Where results go: to a table for people, to a file or standard output as JSON for programs.

use std::path::Path;

use serde::Serialize;

/// Prints for people by `print`, and writes `found` to `path` where one is given; `-` is standard output, and nothing else is printed then.
pub fn write_json(path: Option<&Path>, found: &impl Serialize, print: impl FnOnce()) -> Result<(), String> {
    let Some(path) = path else {
        print();
        return Ok(());
    };
    let json =
        serde_json::to_string(found).map_err(|error| format!("the results cannot be written as JSON: {error}"))?;
    if path == Path::new("-") {
        println!("{json}");
        return Ok(());
    }
    print();
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    }
    std::fs::write(path, json + "\n").map_err(|error| format!("cannot write {}: {error}", path.display()))
}
