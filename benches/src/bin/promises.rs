//! What `cargo xtask rivals --promises` runs: prints what each pool makes of each scenario.

#[tokio::main]
async fn main() {
    // Panics are part of the script; their reports are not part of the result.
    std::panic::set_hook(Box::new(|_| {}));
    benches::promises::run().await;
}
