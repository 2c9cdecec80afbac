//! The lock: every thread gets in, and no two at once.

use super::Mutex;
use std::thread;

#[test]
fn every_waiting_thread_gets_in_and_no_two_get_in_together() {
    const THREADS: u32 = 8;
    const ROUNDS: u32 = 2_000;
    let mutex = Mutex::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for round in 0..ROUNDS {
                    let mut count = mutex.lock();
                    let before = *count;
                    // Now and then its core is lost under the lock, for one turn of the others
                    // or for several.
                    (0..round % 7).for_each(|_| thread::yield_now());
                    *count = before + 1;
                }
            });
        }
    });
    assert_eq!(*mutex.lock(), THREADS * ROUNDS);
}
