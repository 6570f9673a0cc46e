//! Reads AMQP frames as they pass, to keep one kind of them back.

/// What stands before a frame's content: its type, its channel, its length.
const HEAD: usize = 7;

/// The type of a frame that holds a method.
const METHOD: u8 = 1;

/// Class and method of `basic.cancel`.
const CANCEL: [u8; 4] = [0, 60, 0, 30];

/// Lets all frames pass but those by which a broker cancels a consumer.
#[derive(Default)]
pub struct WithoutCancels {
    begun: Vec<u8>,
}

impl WithoutCancels {
    /// The whole frames that may pass, with what has come now.
    pub fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.begun.extend_from_slice(bytes);
        let (mut at, mut passed) = (0, Vec::with_capacity(self.begun.len()));
        while let Some(frame) = first_frame(&self.begun[at..]) {
            at += frame.len();
            if !is_cancel(frame) {
                passed.extend_from_slice(frame);
            }
        }
        self.begun.drain(..at);
        passed
    }
}

/// The first frame, if it is there in full: head, content, and one byte for its end.
fn first_frame(bytes: &[u8]) -> Option<&[u8]> {
    let length: [u8; 4] = bytes.get(3..HEAD)?.try_into().ok()?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    bytes.get(..HEAD + length + 1)
}

fn is_cancel(frame: &[u8]) -> bool {
    frame[0] == METHOD && frame[HEAD..].starts_with(&CANCEL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&[kind, 0, 1], &length[..], content, &[0xCE]].concat()
    }

    #[test]
    fn only_the_cancelling_of_a_consumer_is_kept_back_however_the_bytes_come() {
        let deliver = frame(METHOD, &[0, 60, 0, 60, 9, 9]);
        let cancel = frame(METHOD, &[0, 60, 0, 30, 1, b'c', 1]);
        let cancel_ok = frame(METHOD, &[0, 60, 0, 31, 1, b'c']);
        let body = frame(3, &[0, 60, 0, 30]);
        let all = [deliver.clone(), cancel, cancel_ok.clone(), body.clone()].concat();
        let expected = [deliver, cancel_ok, body].concat();
        for size in [1, 3, 7, all.len()] {
            let mut filter = WithoutCancels::default();
            let passed: Vec<u8> = all.chunks(size).flat_map(|bytes| filter.pass(bytes)).collect();
            assert_eq!(passed, expected, "in pieces of {size}");
        }
    }
}
