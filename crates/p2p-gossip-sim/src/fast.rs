//! Scenarios side by side.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;

use crate::Row;

pub(crate) type Job = Box<dyn FnOnce() -> Row + Send>;

/// Threads: as many as the smallest machine has that this is meant for.
const THREADS: usize = 2;

/// Runs `jobs`; the rows come back in the order of the jobs.
pub(crate) fn run_all(jobs: Vec<Job>, done: &mut dyn FnMut(&Row)) -> Vec<Row> {
    let queue = Mutex::new(jobs.into_iter().enumerate());
    let (sender, receiver) = channel();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let (sender, queue) = (sender.clone(), &queue);
            scope.spawn(move || {
                loop {
                    let next = queue.lock().map(|mut jobs| jobs.next());
                    let Ok(Some((index, job))) = next else { return };
                    if sender.send((index, job())).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut rows = Vec::new();
        for (index, row) in receiver {
            done(&row);
            rows.push((index, row));
        }
        rows.sort_by_key(|(index, _)| *index);
        rows.into_iter().map(|(_, row)| row).collect()
    })
}
