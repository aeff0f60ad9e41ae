//! Scenarios side by side.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;

use crate::Row;

/// One row to be made.
pub(crate) struct Job {
    pub(crate) row: Box<dyn FnOnce() -> Row + Send>,
    /// It takes much longer than others: it starts first, so that not all wait for it at the end.
    pub(crate) runs_long: bool,
}

impl Job {
    pub(crate) fn new(row: impl FnOnce() -> Row + Send + 'static) -> Self {
        Self {
            row: Box::new(row),
            runs_long: false,
        }
    }
}

/// Threads: as many as the smallest machine has that this is meant for.
const THREADS: usize = 2;

/// Runs `jobs`; the rows come back in the order of the jobs.
pub(crate) fn run_all(jobs: Vec<Job>, done: &mut dyn FnMut(&Row)) -> Vec<Row> {
    let mut jobs: Vec<_> = jobs.into_iter().enumerate().collect();
    jobs.sort_by_key(|(_, job)| !job.runs_long);
    let queue = Mutex::new(jobs.into_iter());
    let (sender, receiver) = channel();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let (sender, queue) = (sender.clone(), &queue);
            scope.spawn(move || {
                loop {
                    let next = queue.lock().map(|mut jobs| jobs.next());
                    let Ok(Some((index, job))) = next else { return };
                    if sender.send((index, (job.row)())).is_err() {
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
