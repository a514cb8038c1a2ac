//! Tells cargo that a file added to `providers/` changes the program: the folder is embedded.

fn main() {
    println!("cargo::rerun-if-changed=providers");
}
