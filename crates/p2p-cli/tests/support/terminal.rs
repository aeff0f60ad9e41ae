//! A pseudo terminal with a program on it, and what a person in front of it sees.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Command, ExitStatus};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

/// A program that runs on a terminal.
pub(crate) struct Terminal {
    child: Child,
    /// Our side.
    master: File,
    /// Kept open, so that the settings can be looked at when the program has ended.
    slave: File,
    before: String,
    pub(crate) screen: Screen,
}

impl Terminal {
    /// Starts `command` on a terminal of this size, below the prompt of a shell.
    pub(crate) fn start(mut command: Command, columns: u16, rows: u16) -> Self {
        let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        // A test that leads a session must not get it as its own terminal, and a hang-up with its end.
        let not_ours = OpenptFlags::NOCTTY.bits().cast_signed();
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(not_ours)
            .open(name.to_str().unwrap())
            .unwrap();
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&slave, size).unwrap();
        let before = settings(&slave);
        let mut screen = Screen::new(columns.into(), rows.into());
        screen.take(b"$ p2p top\r\n");
        let side = || slave.try_clone().unwrap();
        let child = command
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .unwrap();
        // It holds our side's copies of the other one.
        drop(command);
        Self {
            child,
            master: master.into(),
            slave,
            before,
            screen,
        }
    }

    /// Looks until so many frames were drawn.
    pub(crate) fn wait_for_frames(&mut self, frames: usize) {
        self.wait_until(|screen| screen.frames >= frames);
    }

    pub(crate) fn wait_until(&mut self, done: impl Fn(&Screen) -> bool) {
        let mut buffer = [0; 4096];
        while !done(&self.screen) {
            let read = self.master.read(&mut buffer).unwrap();
            self.screen.take(&buffer[..read]);
        }
    }

    /// Sends SIGINT, as the terminal does for Ctrl-C.
    pub(crate) fn interrupt(&self) {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args(["-INT", &pid]).status();
        assert!(kill.unwrap().success());
    }

    /// Looks until the program has ended, and at what it left: its exit code, and the terminal.
    #[track_caller]
    pub(crate) fn end(self) -> (ExitStatus, Screen) {
        let Self {
            mut child,
            mut master,
            slave,
            before,
            mut screen,
        } = self;
        let after = settings(&slave);
        let looked = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // An error: the other side is closed.
            while let Ok(read @ 1..) = master.read(&mut buffer) {
                screen.take(&buffer[..read]);
            }
            screen
        });
        let status = child.wait().unwrap();
        assert_eq!(
            settings(&slave),
            before,
            "settings were changed and left so"
        );
        assert_eq!(after, before);
        drop(slave);
        (status, looked.join().unwrap())
    }
}

/// Echo, signals, line mode and the rest.
fn settings(terminal: &File) -> String {
    let Termios {
        input_modes,
        output_modes,
        control_modes,
        local_modes,
        ..
    } = tcgetattr(terminal).unwrap();
    format!("{input_modes:?} {output_modes:?} {control_modes:?} {local_modes:?}")
}

/// What a terminal shows. Knows what `p2p` may send, and panics at anything else.
pub(crate) struct Screen {
    columns: usize,
    rows: usize,
    /// The picture of the shell, and of a program that took another screen.
    pictures: [Vec<Vec<char>>; 2],
    cursors: [(usize, usize); 2],
    on_other: bool,
    pub(crate) cursor_is_shown: bool,
    pub(crate) is_plain: bool,
    /// How often the cursor went home on the other screen.
    pub(crate) frames: usize,
    /// Lines that left the other screen at its top.
    pub(crate) scrolled: usize,
    /// Characters that the other screen had no room for.
    pub(crate) wrapped: usize,
    /// Of the last frame.
    pub(crate) last_frame: Vec<String>,
    rest: Vec<u8>,
}

impl Screen {
    fn new(columns: usize, rows: usize) -> Self {
        let blank = vec![vec![' '; columns]; rows];
        Self {
            columns,
            rows,
            pictures: [blank.clone(), blank],
            cursors: [(0, 0); 2],
            on_other: false,
            cursor_is_shown: true,
            is_plain: true,
            frames: 0,
            scrolled: 0,
            wrapped: 0,
            last_frame: Vec::new(),
            rest: Vec::new(),
        }
    }

    /// The lines that can be read now.
    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = self.pictures[usize::from(self.on_other)].iter();
        lines
            .map(|line| line.iter().collect::<String>().trim_end().to_owned())
            .collect()
    }

    /// Whether the shell's screen is shown, with a cursor, and in plain letters.
    pub(crate) fn is_as_before(&self) -> bool {
        !self.on_other && self.cursor_is_shown && self.is_plain
    }

    fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        loop {
            let Ok(text) = std::str::from_utf8(&self.rest)
                .or_else(|error| std::str::from_utf8(&self.rest[..error.valid_up_to()]))
            else {
                return;
            };
            let Some(first) = text.chars().next() else {
                return;
            };
            let len = if first == '\x1b' {
                let end = text[1..].find(|c: char| c.is_ascii_alphabetic());
                let Some(end) = end else {
                    return;
                };
                let sequence = text[1..end + 2].to_owned();
                self.obey(&sequence);
                end + 2
            } else {
                self.put(first);
                first.len_utf8()
            };
            self.rest.drain(..len);
        }
    }

    fn obey(&mut self, sequence: &str) {
        let at = usize::from(self.on_other);
        let (row, column) = self.cursors[at];
        match sequence {
            "[H" => {
                self.last_frame = self.lines();
                self.frames += 1;
                self.cursors[at] = (0, 0);
            }
            // Behind a full row the cursor stands on the last letter.
            "[K" => self.pictures[at][row][column.min(self.columns - 1)..].fill(' '),
            "[J" => {
                self.pictures[at][row][column.min(self.columns - 1)..].fill(' ');
                for line in &mut self.pictures[at][row + 1..] {
                    line.fill(' ');
                }
            }
            "[?1049h" => {
                assert!(!self.on_other, "entered twice");
                self.on_other = true;
                self.cursors[1] = (0, 0);
            }
            "[?1049l" => {
                assert!(self.on_other, "left what was not entered");
                self.last_frame = self.lines();
                self.on_other = false;
            }
            "[?25l" => self.cursor_is_shown = false,
            "[?25h" => self.cursor_is_shown = true,
            "[0m" => self.is_plain = true,
            color if color.ends_with('m') => self.is_plain = false,
            other => panic!("unknown: ESC {other}"),
        }
    }

    fn put(&mut self, c: char) {
        let at = usize::from(self.on_other);
        let (mut row, mut column) = self.cursors[at];
        match c {
            '\r' => column = 0,
            '\n' => row += 1,
            _ => {
                assert!(!c.is_control(), "{c:?}");
                if column == self.columns {
                    (row, column) = (row + 1, 0);
                    self.wrapped += usize::from(self.on_other);
                }
                self.scroll(&mut row);
                self.pictures[at][row][column] = c;
                column += 1;
            }
        }
        self.scroll(&mut row);
        self.cursors[at] = (row, column);
    }

    fn scroll(&mut self, row: &mut usize) {
        if *row == self.rows {
            let picture = &mut self.pictures[usize::from(self.on_other)];
            picture.remove(0);
            picture.push(vec![' '; self.columns]);
            *row -= 1;
            self.scrolled += usize::from(self.on_other);
        }
    }
}
