//! The settings of a shared pool.

use crate::support::{Links, ms};
use millpond_core::{Event, EventContext};
use millpond_shared::SharedPool;
use std::sync::{Arc, Mutex};

#[test]
fn conflicting_settings_are_reported() {
    let heard = Arc::new(Mutex::new(0));
    let note = Arc::clone(&heard);
    let observer = move |event: &Event, _: &EventContext<'_>| {
        if matches!(event, Event::Warned { setting: "fail_fast_after", .. }) {
            *note.lock().unwrap() += 1;
        }
    };
    let manager = Links(Arc::default());
    let builder = SharedPool::builder(manager).fail_fast_after(ms(1)).observer(observer);
    drop(builder.build().unwrap());
    assert_eq!(*heard.lock().unwrap(), 1);
}
