//! How large the arguments of a statement are: a driver sends them through a buffer that stays as
//! large as they were.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::{Arguments, Database, Encode, Type};
use std::cell::Cell;
use std::error::Error as StdError;
use std::fmt;

/// The size of encoded arguments in bytes, `len` being that of their buffer: for backends.
///
/// sqlx shows the buffer to nobody but values that are encoded into it. So one is, which looks and
/// then refuses to be added: nothing is changed.
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
        // Without a size, so nothing is allocated.
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
