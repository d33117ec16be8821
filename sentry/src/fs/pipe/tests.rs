// SPDX-License-Identifier: Apache-2.0
//! Pipes through their open files, without a guest.

use abi::{Errno, fcntl::OpenFlags};

use super::{Fifo, PipeEnd, pair};
use crate::{
    io::{Sink, SliceSink, SliceSource, Source},
    vfs::FileOps,
    wait::{Ready, Try},
};

fn write(end: &PipeEnd, bytes: &[u8]) -> Result<Try<usize>, Errno> {
    end.write_at(&mut SliceSource::new(bytes), 0)
}

fn read(end: &PipeEnd, len: usize) -> Result<Try<Vec<u8>>, Errno> {
    let mut room = vec![0; len];
    let mut sink = SliceSink::new(&mut room);
    let got = end.read_at(&mut sink, 0)?;
    Ok(got.map(|got| room[..got].to_vec()))
}

/// A source that faults after some bytes.
struct Faulting {
    good: usize,
    total: usize,
}

impl Source for Faulting {
    fn remaining(&self) -> usize {
        self.total
    }
    fn read(&mut self, to: &mut [u8]) -> Result<usize, Errno> {
        let got = to.len().min(self.good);
        if got == 0 {
            return Err(Errno::EFAULT);
        }
        self.good -= got;
        self.total -= got;
        Ok(got)
    }
    fn unread(&mut self, bytes: usize) {
        self.good += bytes;
        self.total += bytes;
    }
}

/// A sink that faults after some bytes.
struct Narrow {
    good: usize,
    total: usize,
}

impl Sink for Narrow {
    fn remaining(&self) -> usize {
        self.total
    }
    fn write(&mut self, from: &[u8]) -> Result<usize, Errno> {
        let put = from.len().min(self.good);
        if put == 0 {
            return Err(Errno::EFAULT);
        }
        self.good -= put;
        self.total -= put;
        Ok(put)
    }
}

#[test]
fn bytes_come_in_order_and_merge() {
    let (reader, writer) = pair(OpenFlags::empty());
    assert_eq!(read(&reader, 10), Ok(Try::WouldBlock));
    assert_eq!(write(&writer, b"abc"), Ok(Try::Done(3)));
    assert_eq!(write(&writer, b"def"), Ok(Try::Done(3)));
    assert_eq!(reader.pipe().pending(), 6);
    assert_eq!(reader.pipe().state.lock().buffer.contents(), b"abcdef");
    assert_eq!(read(&reader, 4), Ok(Try::Done(b"abcd".to_vec())));
    assert_eq!(read(&reader, 4), Ok(Try::Done(b"ef".to_vec())));
    drop(writer);
    assert_eq!(read(&reader, 4), Ok(Try::Done(vec![])));
}

#[test]
fn room_is_counted_in_pages_as_linux_does() {
    let (reader, writer) = pair(OpenFlags::empty());
    let large = vec![7; 70_000];
    assert_eq!(write(&writer, &large), Ok(Try::Done(65_536)));
    assert_eq!(write(&writer, b"x"), Ok(Try::WouldBlock));
    assert!(!writer.ready().intersects(Ready::OUT));
    // A byte less in the first page frees no page.
    assert_eq!(read(&reader, 1), Ok(Try::Done(vec![7])));
    assert_eq!(write(&writer, b"x"), Ok(Try::WouldBlock));
    assert_eq!(read(&reader, 4095), Ok(Try::Done(vec![7; 4095])));
    assert!(writer.ready().contains(Ready::WRITABLE));
    assert_eq!(write(&writer, &[1; 4097]), Ok(Try::Done(4096)));
    assert_eq!(reader.pipe().pending(), 65_536);
}

#[test]
fn small_writes_are_whole_or_wait() {
    let (reader, writer) = pair(OpenFlags::empty());
    for _ in 0..16 {
        assert_eq!(write(&writer, &[1; 4000]), Ok(Try::Done(4000)));
    }
    // 96 bytes are left in the last page: what fits merges, what does not waits.
    assert_eq!(write(&writer, &[2; 97]), Ok(Try::WouldBlock));
    assert_eq!(write(&writer, &[2; 96]), Ok(Try::Done(96)));
    assert_eq!(reader.pipe().pending(), 64_096);
}

#[test]
fn ends_hang_up() {
    let (reader, writer) = pair(OpenFlags::empty());
    drop(reader);
    assert_eq!(write(&writer, b"x"), Err(Errno::EPIPE));
    assert_eq!(write(&writer, b""), Ok(Try::Done(0)));
    assert_eq!(writer.ready(), Ready::WRITABLE | Ready::ERR);
    let (reader, writer) = pair(OpenFlags::empty());
    assert_eq!(write(&writer, b"x"), Ok(Try::Done(1)));
    drop(writer);
    assert_eq!(reader.ready(), Ready::READABLE | Ready::HUP);
    assert_eq!(read(&reader, 1), Ok(Try::Done(b"x".to_vec())));
    assert_eq!(reader.ready(), Ready::HUP);
}

#[test]
fn packets_keep_their_bounds() {
    let (reader, writer) = pair(OpenFlags::DIRECT);
    assert_eq!(write(&writer, b"first"), Ok(Try::Done(5)));
    assert_eq!(write(&writer, b"second"), Ok(Try::Done(6)));
    assert_eq!(write(&writer, &[9; 5000]), Ok(Try::Done(5000)));
    assert_eq!(read(&reader, 100), Ok(Try::Done(b"first".to_vec())));
    assert_eq!(read(&reader, 3), Ok(Try::Done(b"sec".to_vec())));
    assert_eq!(read(&reader, 5000), Ok(Try::Done(vec![9; 4096])));
    assert_eq!(read(&reader, 5000), Ok(Try::Done(vec![9; 904])));
}

#[test]
fn sizes_follow_fcntl() {
    let (reader, writer) = pair(OpenFlags::empty());
    let pipe = reader.pipe();
    assert_eq!(pipe.set_size(0, false), Ok(4096));
    assert_eq!(pipe.set_size(5000, false), Ok(8192));
    assert_eq!(write(&writer, &[1; 8192]), Ok(Try::Done(8192)));
    assert_eq!(pipe.set_size(4096, false), Err(Errno::EBUSY));
    assert_eq!(pipe.set_size(1 << 20, false), Ok(1 << 20));
    assert_eq!(pipe.set_size((1 << 20) + 1, false), Err(Errno::EPERM));
    assert_eq!(pipe.set_size((1 << 20) + 1, true), Ok(1 << 21));
    assert_eq!(pipe.set_size(usize::MAX, true), Err(Errno::EINVAL));
}

#[test]
fn faults_keep_whole_pages() {
    let (reader, writer) = pair(OpenFlags::empty());
    let fault = &mut Faulting { good: 100, total: 200 };
    assert_eq!(writer.write_at(fault, 0), Err(Errno::EFAULT));
    let fault = &mut Faulting { good: 5000, total: 9000 };
    assert_eq!(writer.write_at(fault, 0), Ok(Try::Done(4096)));
    assert_eq!(fault.total, 9000 - 4096);
    let narrow = &mut Narrow { good: 10, total: 100 };
    assert_eq!(reader.read_at(narrow, 0), Err(Errno::EFAULT));
    assert_eq!(reader.pipe().pending(), 4096);
}

#[test]
fn a_fifo_waits_for_its_peer() {
    let fifo = Fifo::new();
    let nonblocking = OpenFlags::NONBLOCK;
    assert_eq!(fifo.open(OpenFlags::WRONLY | nonblocking).err(), Some(Errno::ENXIO));
    let reader = fifo.open(OpenFlags::empty()).expect("a reader opens");
    assert_eq!(reader.open_wait(), Ok(Try::WouldBlock));
    let writer = fifo.open(OpenFlags::WRONLY).expect("a writer opens");
    assert_eq!(writer.open_wait(), Ok(Try::Done(())));
    drop(writer);
    // The writer came, even if it left again.
    assert_eq!(reader.open_wait(), Ok(Try::Done(())));
    assert_eq!(reader.ready(), Ready::HUP);
    drop(reader);
    let quiet = fifo.open(nonblocking).expect("opens at once");
    assert_eq!((quiet.open_wait(), quiet.ready()), (Ok(Try::Done(())), Ready::empty()));
    drop(fifo.open(OpenFlags::WRONLY).expect("a writer opens"));
    assert_eq!(quiet.ready(), Ready::HUP);
    let both = fifo.open(OpenFlags::RDWR).expect("opens alone");
    assert_eq!(both.open_wait(), Ok(Try::Done(())));
    assert_eq!(write(&both, b"me"), Ok(Try::Done(2)));
    assert_eq!(read(&both, 9), Ok(Try::Done(b"me".to_vec())));
}

#[test]
fn splice_moves_and_tee_shares() {
    let (first_reader, first_writer) = pair(OpenFlags::empty());
    let (second_reader, second_writer) = pair(OpenFlags::empty());
    assert_eq!(first_reader.splice_to(&second_writer, 9), Ok(Try::WouldBlock));
    assert_eq!(first_reader.splice_to(&first_writer, 9), Err(Errno::EINVAL));
    write(&first_writer, b"hello world").expect("has a reader");
    assert_eq!(first_reader.tee_to(&second_writer, 5), Ok(Try::Done(5)));
    assert_eq!(first_reader.pipe().pending(), 11);
    // What is shared is not written to: the merge goes into a slot of its own.
    write(&first_writer, b"!").expect("has a reader");
    write(&second_writer, b"?").expect("has a reader");
    assert_eq!(read(&second_reader, 99), Ok(Try::Done(b"hello?".to_vec())));
    assert_eq!(first_reader.splice_to(&second_writer, 6), Ok(Try::Done(6)));
    assert_eq!(read(&second_reader, 99), Ok(Try::Done(b"hello ".to_vec())));
    assert_eq!(read(&first_reader, 99), Ok(Try::Done(b"world!".to_vec())));
}

#[test]
fn a_hundred_megabytes_pass_between_threads() {
    use crate::wait::Sleeper;
    const TOTAL: usize = 100 << 20;
    let (reader, writer) = pair(OpenFlags::empty());
    let sender = std::thread::spawn(move || {
        let (sleeper, block) = (Sleeper::new(), vec![5_u8; 1 << 20]);
        let queue = writer.wait_queue().expect("pipes have one");
        for _ in 0..TOTAL >> 20 {
            let mut source = SliceSource::new(&block);
            while source.remaining() > 0 {
                sleeper
                    .until(&[&queue], Ready::WRITABLE, None, || writer.write_at(&mut source, 0))
                    .expect("the reader reads on");
            }
        }
    });
    let (sleeper, mut block, mut total) = (Sleeper::new(), vec![0; 65_536], 0);
    let queue = reader.wait_queue().expect("pipes have one");
    loop {
        let got = sleeper
            .until(&[&queue], Ready::READABLE, None, || {
                reader.read_at(&mut SliceSink::new(&mut block), 0)
            })
            .expect("nothing interrupts");
        if got == 0 {
            break;
        }
        assert!(block[..got].iter().all(|byte| *byte == 5));
        total += got;
    }
    assert_eq!(total, TOTAL);
    sender.join().expect("the sender ends");
}
