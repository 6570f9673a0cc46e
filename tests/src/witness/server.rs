//! The witness's own process: a small HTTP server, one thread for each connection.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{DIR_VARIABLE, Mood, Seen};

/// Is the witness, for ever, in a process that was started to be it; does nothing elsewhere.
///
/// # Panics
/// Its directory cannot be used.
pub fn serve_if_asked() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE) else { return };
    let dir = Path::new(&dir);
    let seen = File::options().create(true).append(true).open(dir.join("seen")).expect("the directory is ours");
    let court = Arc::new(Court { seen, mood: Mutex::new(Mood::Well) });
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has free ports");
    let port = listener.local_addr().expect("it is bound").port();
    // Renamed into place, so that whoever waits for it finds it whole.
    fs::write(dir.join("port.part"), port.to_string()).expect("the directory is ours");
    fs::rename(dir.join("port.part"), dir.join("port")).expect("the directory is ours");
    std::thread::spawn(end_with_the_input);
    for stream in listener.incoming().flatten() {
        let court = Arc::clone(&court);
        std::thread::spawn(move || court.serve(stream));
    }
}

fn end_with_the_input() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    std::process::exit(0);
}

/// What all connections share.
struct Court {
    seen: File,
    mood: Mutex<Mood>,
}

struct Request {
    path: String,
    body: Vec<u8>,
    is_last: bool,
}

impl Court {
    fn serve(&self, stream: TcpStream) {
        // Answers are small: each goes out at once.
        let _ = stream.set_nodelay(true);
        let mut reader = BufReader::new(stream);
        while let Some(request) = read(&mut reader) {
            let mood = *self.mood.lock().unwrap_or_else(PoisonError::into_inner);
            let action = request.path.rsplit('/').next().unwrap_or_default();
            let answered = match action {
                "mood" => {
                    let wanted = serde_json::from_slice(&request.body).expect("the rig asks for it");
                    *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = wanted;
                    answer(reader.get_mut(), "200 OK", "", &json!({}))
                }
                "witness" => {
                    self.note(&request.body, matches!(mood, Mood::Well | Mood::Slow(_)));
                    answer_in(mood, reader.get_mut(), &json!({}))
                }
                "status_show" => {
                    answer_in(mood, reader.get_mut(), &json!({"ckan_version": "2.11.0", "extensions": []}))
                }
                "user_show" => answer_in(mood, reader.get_mut(), &json!({"name": "worker", "sysadmin": true})),
                _ => answer_in(mood, reader.get_mut(), &json!({})),
            };
            if !answered || request.is_last {
                return;
            }
        }
    }

    /// Writes down what it was told, before it answers; one write each, so that lines do not mix.
    fn note(&self, body: &[u8], was_well: bool) {
        let told: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seen = Seen {
            id: text("id"),
            worker: text("worker"),
            attempt: told["attempt"].as_u64().and_then(|attempt| attempt.try_into().ok()).unwrap_or_default(),
            ending: text("ending"),
            t_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            was_well,
        };
        let mut line = serde_json::to_string(&seen).expect("it is plain");
        line.push('\n');
        (&self.seen).write_all(line.as_bytes()).expect("the directory is ours");
    }
}

/// Reads one request; `None` at the end of the connection.
fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let header = |wanted: &str| {
        let lines = head.iter().filter_map(|line| line.split_once(':'));
        lines.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let path = head.first()?.split(' ').nth(1)?.split('?').next()?.to_owned();
    let is_last = header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Some(Request { path, body, is_last })
}

/// Answers in that mood; `false` if the connection is to end.
fn answer_in(mood: Mood, stream: &mut TcpStream, result: &Value) -> bool {
    let well = |stream: &mut TcpStream| answer(stream, "200 OK", "", &json!({"success": true, "result": result}));
    let failed = json!({"success": false, "error": {"message": "told to refuse", "__type": "Told"}});
    match mood {
        Mood::Well => well(stream),
        Mood::Slow(ms) => {
            std::thread::sleep(Duration::from_millis(ms));
            well(stream)
        }
        Mood::Status(status) => answer(stream, &format!("{status} Told"), "", &failed),
        Mood::TooMany(seconds) => answer(stream, "429 Told", &format!("Retry-After: {seconds}\r\n"), &failed),
        Mood::Resets => {
            let _ = rustix::net::sockopt::set_socket_linger(&*stream, Some(Duration::ZERO));
            false
        }
        Mood::Trickles => {
            // Who waits for it gives up at some time, and then a write fails.
            for byte in b"HTTP/1.1 200 OK\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'a')) {
                if stream.write_all(&[*byte]).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_secs(1));
            }
            false
        }
    }
}

fn answer(stream: &mut TcpStream, status: &str, headers: &str, body: &Value) -> bool {
    let body = body.to_string();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {}", body.len());
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).is_ok()
}
