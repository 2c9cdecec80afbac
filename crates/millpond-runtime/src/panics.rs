//! Guards against panics in foreign code.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls a synchronous function and catches its panic.
pub fn catch_panic<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| message(&*panic))
}

/// Drops a foreign value and catches a panic of its destructor.
pub fn drop_catching_panic<T>(value: T) -> Result<(), String> {
    catch_panic(|| drop(value))
}

fn message(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a message".to_owned()
    }
}
