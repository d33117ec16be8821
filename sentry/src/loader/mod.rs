// SPDX-License-Identifier: Apache-2.0
//! Programs: from a file and its arguments to memory that is ready to run.
//!
//! * **What it is.** [`load`] does what Linux's `fs/exec.c` and `fs/binfmt_*.c` do, in an address space of
//!   its own: the old program is not touched, so whoever calls decides when there is no way back.
//! * **The types to know.** [`Request`] and [`Loaded`]; [`Executable`], an open file that nobody may write
//!   to while it runs; [`LoadError`], which says whether Linux would have told the caller or killed it.
//! * **Invariants.** Every number in a file is an allegation: it is checked before anything is mapped,
//!   allocated or read by it.
//! * **What it deliberately does not do.** Set-user-id, close-on-exec, signals and threads are `task`'s.

mod arguments;
mod auxv;
mod elf;
mod executable;
mod image;
mod script;
mod stack;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use abi::{Errno, UserAddr, limits::BINPRM_BUF_SIZE};
use platform::{AddressSpace, Context, Platform, Registers};

pub use arguments::{Arguments, read_strings};
pub use executable::Executable;

use crate::{
    creds::Credentials,
    mm::{Layout, Limits, MemoryManager, ProgramInfo},
    vfs::{FileDescription, ResolveContext},
};

/// How many interpreters may follow each other (exec_binprm()).
const MAX_DEPTH: usize = 5;

/// Why a program was not loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadError {
    /// What execve(2) returns.
    pub errno: Errno,
    /// Whether Linux finds out only when the old program is gone, and kills the task by SIGSEGV.
    pub is_fatal: bool,
}

impl From<Errno> for LoadError {
    fn from(errno: Errno) -> LoadError {
        LoadError { errno, is_fatal: false }
    }
}

impl LoadError {
    fn fatal(errno: Errno) -> LoadError {
        LoadError { errno, is_fatal: true }
    }
}

/// Who the new program is to be, once it is known which file it is: the credentials, and whether it runs
/// with more rights than its caller (`AT_SECURE`).
pub type Identify<'a> =
    &'a mut dyn FnMut(&Arc<FileDescription>) -> Result<(Arc<Credentials>, bool), Errno>;

/// What to load.
#[allow(missing_debug_implementations, reason = "it holds a closure")]
pub struct Request<'a> {
    /// Where stubs come from.
    pub platform: &'a dyn Platform,
    /// The file, opened by [`Executable::open`].
    pub file: Executable,
    /// The file's name as the caller gave it: `AT_EXECFN`, and what scripts are told. For execveat(2)
    /// with an empty path: `/dev/fd/N`.
    pub path: Vec<u8>,
    /// The path cannot be opened by an interpreter (a close-on-exec descriptor): `ENOENT` for scripts.
    pub is_path_inaccessible: bool,
    /// argv and envp.
    pub arguments: Arguments,
    /// How the paths of interpreters are resolved.
    pub resolve: &'a ResolveContext,
    /// The caller's limits; `RLIMIT_STACK` decides on the stack and on the layout.
    pub limits: Limits,
    /// False with `ADDR_NO_RANDOMIZE`.
    pub is_randomized: bool,
    /// Who it will be.
    pub identify: Identify<'a>,
}

/// A program in memory of its own, ready to run.
#[derive(Debug)]
pub struct Loaded {
    /// Its memory.
    pub mm: Arc<MemoryManager>,
    /// Its first stub thread, stopped.
    pub context: Box<dyn Context>,
    /// Its registers.
    pub registers: Registers,
    /// The file that runs (a script's interpreter).
    pub file: Arc<FileDescription>,
    /// Who it is.
    pub creds: Arc<Credentials>,
    /// What `/proc/<pid>/comm` shows.
    pub name: Vec<u8>,
}

/// Loads a program into a fresh address space.
pub fn load(request: Request<'_>) -> Result<Loaded, LoadError> {
    let Request { platform, path, mut arguments, limits, resolve, .. } = request;
    let mut file = request.file;
    arguments.admit(&path, limits.stack)?;
    let mut script = path.clone();
    let mut depth = 0;
    let header = loop {
        if depth > MAX_DEPTH {
            return Err(Errno::ELOOP.into());
        }
        let mut buffer = [0; BINPRM_BUF_SIZE];
        file.read(0, &mut buffer)?;
        let Some(interpreter) = script::parse(&buffer)? else { break buffer };
        if request.is_path_inaccessible && depth == 0 {
            return Err(Errno::ENOENT.into());
        }
        arguments.interpret(&script, &interpreter)?;
        file = open_interpreter(resolve, &interpreter.path)?;
        script = interpreter.path;
        depth += 1;
    };
    let program = elf::Program::read(&file, &header)?;
    let interpreter = match program.interpreter(&file)? {
        Some(path) => {
            let file = open_interpreter(resolve, &path)?;
            let program = elf::Program::read_interpreter(&file)?;
            Some((file, program))
        }
        None => None,
    };
    let (creds, is_secure) = (request.identify)(file.description())?;

    // From here on Linux has given up the old program.
    let parts = Parts {
        platform,
        limits: &limits,
        is_randomized: request.is_randomized,
        file: &file,
        program: &program,
        interpreter: interpreter.as_ref(),
        arguments: &arguments,
        path: &path,
        creds: &creds,
        is_secure,
    };
    let mut tries = 0;
    loop {
        let (space, context) = platform.new_address_space().map_err(|error| {
            tracing::warn!(%error, "there is no stub for a program");
            Errno::ENOMEM
        })?;
        tries += 1;
        match parts.place(Arc::clone(&space), context) {
            // It was killed from outside before it had run anything: another one will do.
            Err(_) if tries < TRIES && space.has_ended() => {
                tracing::debug!("a stub was killed before it was used: another one is taken");
            }
            placed => return placed,
        }
    }
}

/// How many stubs a program is tried in.
const TRIES: usize = 2;

/// What a program is put together from.
struct Parts<'a> {
    platform: &'a dyn Platform,
    limits: &'a Limits,
    is_randomized: bool,
    file: &'a Executable,
    program: &'a elf::Program,
    interpreter: Option<&'a (Executable, elf::Program)>,
    arguments: &'a Arguments,
    path: &'a [u8],
    creds: &'a Arc<Credentials>,
    is_secure: bool,
}

impl Parts<'_> {
    /// Maps the program into a fresh address space and builds its stack there.
    fn place(
        &self,
        space: Arc<dyn AddressSpace>,
        mut context: Box<dyn Context>,
    ) -> Result<Loaded, LoadError> {
        let Parts { platform, limits, file, program, .. } = *self;
        let doomed = Doomed(Some(Arc::clone(&space)));
        let mut random = Random::new(self.is_randomized)?;
        let layout = {
            let mut number = || random.number();
            let randomness: Option<&mut dyn FnMut() -> u64> =
                if self.is_randomized { Some(&mut number) } else { None };
            Layout::new(platform.user_range(), limits.stack, randomness)
        };
        let mm = MemoryManager::new(platform, space, layout);
        let cx = &mut *context;
        let main = image::map_program(&mm, cx, limits, file, program).map_err(LoadError::fatal)?;
        let (entry, base) = match self.interpreter {
            Some((file, program)) => {
                let mapped = image::map_interpreter(&mm, cx, limits, file, program)
                    .map_err(LoadError::fatal)?;
                (mapped.entry, mapped.bias)
            }
            None => (main.entry, 0),
        };
        let facts = auxv::Facts {
            main: &main,
            base,
            creds: self.creds,
            is_secure: self.is_secure,
            vdso: platform.vdso().map_or(0, |vdso| vdso.code.start.raw()),
        };
        let stack = stack::Plan {
            arguments: self.arguments,
            path: self.path,
            is_executable: program.has_executable_stack,
            limit: limits.stack,
            shift: random.number() % 8192,
            random: random.bytes()?,
        };
        let built = stack.build(&mm, cx, limits, &facts).map_err(LoadError::fatal)?;
        mm.set_brk_start(layout.brk_start(main.end));
        mm.set_program(ProgramInfo {
            executable: Some(Arc::new(file.clone())),
            start_code: main.code.0,
            end_code: main.code.1,
            start_data: main.data.0,
            end_data: main.data.1,
            ..built.program
        });
        doomed.spare();
        Ok(Loaded {
            mm,
            context,
            registers: Registers::new_program(entry, built.pointer.raw()),
            file: Arc::clone(file.description()),
            creds: Arc::clone(self.creds),
            name: name_of(self.path),
        })
    }
}

/// open_exec(): an empty path is the working directory to the kernel itself, so no program.
fn open_interpreter(resolve: &ResolveContext, path: &[u8]) -> Result<Executable, Errno> {
    if path.is_empty() { Err(Errno::EACCES) } else { Executable::open(resolve, path) }
}

/// The last part of a path, as long as `/proc/<pid>/comm` shows it (`TASK_COMM_LEN`).
fn name_of(path: &[u8]) -> Vec<u8> {
    let last = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    last.get(..15).unwrap_or(last).to_vec()
}

/// A new address space that dies unless the program gets to run in it.
struct Doomed(Option<Arc<dyn AddressSpace>>);

impl Doomed {
    fn spare(mut self) {
        self.0 = None;
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        if let Some(space) = &self.0 {
            space.kill();
        }
    }
}

/// Randomness for one program: one call to the host for all places.
struct Random {
    pool: [u8; 128],
    used: usize,
    is_on: bool,
}

impl Random {
    fn new(is_on: bool) -> Result<Random, Errno> {
        let mut pool = [0; 128];
        // No call of up to 256 bytes is ever cut short.
        if platform::hostio::random(&mut pool)? != pool.len() {
            return Err(Errno::EIO);
        }
        Ok(Random { pool, used: 0, is_on })
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = self.pool.get(self.used..)?.first_chunk().copied();
        self.used += N;
        bytes
    }

    /// A number for a place; 0 where places are not random.
    fn number(&mut self) -> u64 {
        let bytes = self.take().unwrap_or_default();
        if self.is_on { u64::from_le_bytes(bytes) } else { 0 }
    }

    /// What `AT_RANDOM` points to: random whatever the places are.
    fn bytes(&mut self) -> Result<[u8; 16], Errno> {
        self.take().ok_or(Errno::EIO)
    }
}

/// An address in the guest that a file names.
fn guest(addr: u64) -> UserAddr {
    UserAddr(addr)
}
