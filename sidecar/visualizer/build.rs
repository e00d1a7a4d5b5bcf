//! Says that the binary changes when the built page does: a new file in it is otherwise not noticed.

fn main() {
    println!("cargo:rerun-if-changed=../web/dist");
    println!("cargo:rerun-if-changed=build.rs");
}
