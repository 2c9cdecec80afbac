//! Measures encoded arguments, because a driver's send buffer never shrinks.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::{Arguments, Database, Encode, Type};
use std::cell::Cell;
use std::error::Error as StdError;
use std::fmt;

/// Returns the size of encoded arguments in bytes, for backends; `len` measures their buffer.
///
/// sqlx exposes the buffer only to values that are encoded into it. So this encodes a probe value
/// that reads the buffer's length and then fails, and nothing is added.
pub fn argument_size<DB: Database>(
    arguments: &mut DB::Arguments,
    len: fn(&DB::ArgumentBuffer) -> usize,
) -> usize
where
    i32: Type<DB>,
{
    let found = Cell::new(0);
    let _refused = arguments.add(Probe::<DB> { found: &found, len });
    found.get()
}

struct Probe<'a, DB: Database> {
    found: &'a Cell<usize>,
    len: fn(&DB::ArgumentBuffer) -> usize,
}

impl<DB: Database> Encode<'_, DB> for Probe<'_, DB> {
    fn encode_by_ref(&self, buffer: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        self.found.set((self.len)(buffer));
        // A zero-sized type, so that the box does not allocate.
        Err(Box::new(Refused))
    }
}

impl<DB: Database> Type<DB> for Probe<'_, DB>
where
    i32: Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        <i32 as Type<DB>>::type_info()
    }
}

#[derive(Debug)]
struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a value")
    }
}

impl StdError for Refused {}
