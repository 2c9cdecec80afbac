//! Run by `cargo xtask rivals --promises`: prints the result of each pool in each scenario.

#[tokio::main]
async fn main() {
    // Panics are part of the scenarios, and their messages are not part of the result.
    std::panic::set_hook(Box::new(|_| {}));
    benches::promises::run().await;
}
