// SPDX-License-Identifier: Apache-2.0
//! An ordinary Rust program with threads, for the differential test: what the standard library does with
//! them, and children beside them. Prints the same on every run.

use std::{
    cell::Cell,
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    process::{Command, Stdio},
    sync::{
        Arc, Barrier, Condvar, LazyLock, Mutex, Once, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

fn main() {
    let parts: [(&str, fn() -> String); 9] = [
        ("words counted by a pool", count_words),
        ("a bounded queue", bounded_queue),
        ("scoped threads", scoped),
        ("locks", locks),
        ("waiting with a limit", limits),
        ("thread locals", locals),
        ("barrier, once and parking", meetings),
        ("children of threads", children),
        ("a server on a socket", server),
    ];
    for (name, part) in parts {
        println!("{name}: {}", part());
    }
}

/// Map and reduce over a text made here, by eight workers that share a queue.
fn count_words() -> String {
    let lines: Vec<String> =
        (0..2000).map(|n| format!("the {} of {} and {}", n % 7, n % 11, n % 13)).collect();
    let queue = Arc::new(Mutex::new(lines));
    let (results, all) = mpsc::channel();
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let (queue, results) = (Arc::clone(&queue), results.clone());
            thread::spawn(move || {
                let mut counts = BTreeMap::<String, u64>::new();
                loop {
                    let Some(line) = queue.lock().expect("no worker panics").pop() else { break };
                    for word in line.split(' ') {
                        *counts.entry(word.to_owned()).or_default() += 1;
                    }
                }
                results.send(counts).expect("the reader waits for all");
            })
        })
        .collect();
    drop(results);
    let mut total = BTreeMap::<String, u64>::new();
    for counts in all {
        for (word, count) in counts {
            *total.entry(word).or_default() += count;
        }
    }
    workers.into_iter().for_each(|worker| worker.join().expect("no worker panics"));
    let sum: u64 = total.values().sum();
    format!("{} different, {sum} in all, {:?}", total.len(), total.get("the"))
}

/// Four producers, four consumers, three places between them.
fn bounded_queue() -> String {
    let (sender, receiver) = mpsc::sync_channel::<u64>(3);
    let receiver = Arc::new(Mutex::new(receiver));
    let sum = Arc::new(AtomicU64::new(0));
    let consumers: Vec<_> = (0..4)
        .map(|_| {
            let (receiver, sum) = (Arc::clone(&receiver), Arc::clone(&sum));
            thread::spawn(move || {
                let mut taken = 0;
                loop {
                    let next = receiver.lock().expect("no consumer panics").recv();
                    let Ok(value) = next else { return taken };
                    sum.fetch_add(value, Ordering::Relaxed);
                    taken += 1;
                }
            })
        })
        .collect();
    let producers: Vec<_> = (0..4_u64)
        .map(|who| {
            let sender = sender.clone();
            thread::spawn(move || (0..500).for_each(|n| sender.send(who * 1000 + n).unwrap()))
        })
        .collect();
    drop(sender);
    producers.into_iter().for_each(|producer| producer.join().unwrap());
    let taken: u32 = consumers.into_iter().map(|consumer| consumer.join().unwrap()).sum();
    format!("{taken} taken, sum {}", sum.load(Ordering::Relaxed))
}

fn scoped() -> String {
    let mut numbers: Vec<u64> = (0..100_000).map(|n| n * 7919 % 100_003).collect();
    let half = numbers.len() / 2;
    let (left, right) = numbers.split_at_mut(half);
    thread::scope(|scope| {
        scope.spawn(|| left.sort_unstable());
        scope.spawn(|| right.sort_unstable());
    });
    let sorted = left.is_sorted() && right.is_sorted();
    let parts = thread::scope(|scope| {
        let sums: Vec<_> = numbers
            .chunks(9_999)
            .map(|part| scope.spawn(move || part.iter().sum::<u64>()))
            .collect();
        sums.into_iter().map(|sum| sum.join().unwrap()).collect::<Vec<_>>()
    });
    format!("sorted {sorted}, {} parts, sum {}", parts.len(), parts.iter().sum::<u64>())
}

/// 64 threads on one mutex; readers and writers; a condition passed round a ring.
fn locks() -> String {
    let counter = Arc::new(Mutex::new(0_u64));
    let threads: Vec<_> = (0..64)
        .map(|_| {
            let counter = Arc::clone(&counter);
            thread::spawn(move || (0..1000).for_each(|_| *counter.lock().unwrap() += 1))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());

    let table = RwLock::new(vec![0_u32; 16]);
    let torn = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                (0..200).for_each(|_| table.write().unwrap().iter_mut().for_each(|n| *n += 1))
            });
        }
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let table = table.read().unwrap();
                    torn.fetch_add(
                        usize::from(table.iter().any(|n| *n != table[0])),
                        Ordering::Relaxed,
                    );
                }
            });
        }
    });

    let turn = (Mutex::new(0_usize), Condvar::new());
    thread::scope(|scope| {
        for who in 0..5 {
            let (lock, changed) = &turn;
            scope.spawn(move || {
                for round in 0..100 {
                    let mine = round * 5 + who;
                    let mut now =
                        changed.wait_while(lock.lock().unwrap(), |now| *now != mine).unwrap();
                    *now += 1;
                    changed.notify_all();
                }
            });
        }
    });
    let counter = *counter.lock().unwrap();
    let rows = table.read().unwrap()[0];
    format!(
        "{counter}, {rows} rows, {} torn, {} turns",
        torn.into_inner(),
        turn.0.into_inner().unwrap()
    )
}

fn limits() -> String {
    let (lock, condition) = (Mutex::new(()), Condvar::new());
    let start = Instant::now();
    let (guard, outcome) =
        condition.wait_timeout(lock.lock().unwrap(), Duration::from_millis(30)).unwrap();
    drop(guard);
    let (sender, receiver) = mpsc::channel::<()>();
    let nothing = receiver.recv_timeout(Duration::from_millis(30)).is_err();
    drop(sender);
    thread::park_timeout(Duration::from_millis(30));
    thread::sleep(Duration::from_millis(30));
    let long_enough = start.elapsed() >= Duration::from_millis(119);
    format!("timed out {}, nothing came {nothing}, long enough {long_enough}", outcome.timed_out())
}

fn locals() -> String {
    thread_local!(static MINE: Cell<u32> = const { Cell::new(7) });
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    struct Told;
    impl Drop for Told {
        fn drop(&mut self) {
            DROPS.fetch_add(1, Ordering::SeqCst);
        }
    }
    thread_local!(static TOLD: Told = const { Told });
    let threads: Vec<_> = (0..10_u32)
        .map(|n| {
            thread::Builder::new().name(format!("worker-{n}")).stack_size(128 * 1024).spawn(
                move || {
                    TOLD.with(|_| ());
                    MINE.set(MINE.get() + n);
                    (MINE.get(), thread::current().name().map(str::to_owned))
                },
            )
        })
        .collect();
    let results: Vec<_> = threads.into_iter().map(|thread| thread.unwrap().join()).collect();
    let sum: u32 = results.iter().flatten().map(|(mine, _)| mine).sum();
    let last = results.into_iter().flatten().next_back();
    format!("sum {sum}, last {last:?}, mine {}, {} drops", MINE.get(), DROPS.load(Ordering::SeqCst))
}

fn meetings() -> String {
    static ONCE: Once = Once::new();
    static LAZY: LazyLock<usize> = LazyLock::new(|| {
        thread::sleep(Duration::from_millis(5));
        42
    });
    let barrier = Barrier::new(12);
    let (leaders, firsts) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                for _ in 0..20 {
                    leaders.fetch_add(usize::from(barrier.wait().is_leader()), Ordering::Relaxed);
                }
                ONCE.call_once(|| {
                    firsts.fetch_add(*LAZY, Ordering::Relaxed);
                });
            });
        }
    });
    let parked = thread::spawn(|| {
        for _ in 0..100 {
            thread::park();
        }
    });
    while !parked.is_finished() {
        parked.thread().unpark();
        thread::yield_now();
    }
    parked.join().unwrap();
    format!("{} leaders, first {}", leaders.into_inner(), firsts.into_inner())
}

/// Each thread has a child of its own, fed and read through pipes.
fn children() -> String {
    let threads: Vec<_> = (0..8)
        .map(|n| {
            thread::spawn(move || {
                let mut child = Command::new("sort")
                    .arg("-rn")
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap();
                let mut input = child.stdin.take().unwrap();
                let feeder = thread::spawn(move || {
                    (0..500).for_each(|value| writeln!(input, "{}", value * n % 503).unwrap());
                });
                let mut output = String::new();
                child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
                feeder.join().unwrap();
                let first = output.lines().next().unwrap_or_default().to_owned();
                (first, output.lines().count(), child.wait().unwrap().success())
            })
        })
        .collect();
    let results: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    format!("{results:?}")
}

/// A thread a connection.
fn server() -> String {
    std::fs::remove_file("threads.sock").ok();
    let listener = UnixListener::bind("threads.sock").unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20 {
                let (stream, _) = listener.accept().unwrap();
                scope.spawn(move || {
                    let mut lines = BufReader::new(stream.try_clone().unwrap());
                    let mut line = String::new();
                    while lines.read_line(&mut line).unwrap() > 0 {
                        (&stream).write_all(line.to_uppercase().as_bytes()).unwrap();
                        line.clear();
                    }
                });
            }
        });
        let clients: Vec<_> = (0..20)
            .map(|n| {
                scope.spawn(move || {
                    let mut stream = UnixStream::connect("threads.sock").unwrap();
                    write!(stream, "client {n}\nbye {n}\n").unwrap();
                    stream.shutdown(std::net::Shutdown::Write).unwrap();
                    let mut answer = String::new();
                    stream.read_to_string(&mut answer).unwrap();
                    usize::from(answer == format!("CLIENT {n}\nBYE {n}\n"))
                })
            })
            .collect();
        let right: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
        format!("{right} of 20 answered")
    })
}
