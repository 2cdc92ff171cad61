//! What an on-sale needs, which limit it meets first and what it costs: prints the tables of docs/CAPACITY.md, or puts
//! them there. Change a number in bench/capacity/inputs.rs and run it again.
//!
//!     cargo bench --profile dev --bench capacity [-- --write]

#[path = "capacity/mod.rs"]
mod capacity;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/CAPACITY.md");
    if std::env::args().any(|word| word == "--write") {
        std::fs::write(&path, capacity::tables::merged(&std::fs::read_to_string(&path)?)?)?;
        return Ok(());
    }
    for (name, table) in capacity::tables::all() {
        println!("{name}\n\n{table}");
    }
    Ok(())
}
