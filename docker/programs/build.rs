//! Asks the linker for a smaller file: functions that came out the same are there once, and what a loader has to correct is
//! written down in the short form, which glibc reads from 2.36 on. Only where Rust brings the linker, which knows both.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("TARGET").is_ok_and(|target| target == "x86_64-unknown-linux-gnu") {
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all,-z,pack-relative-relocs");
    }
}
