//! The `valetkey` binary.

fn main() {}
