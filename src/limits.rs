//! Every bound in one place, with its reason and what happens when it is reached.

use std::time::Duration;

/// Stack of a connection's thread. JSON nests at most 128 deep in serde_json, which needs about 100 KB in a debug
/// build; untouched pages cost nothing.
pub const CONN_STACK: usize = 256 * 1024;
/// Stack of every other thread.
pub const STACK: usize = 512 * 1024;

/// Memory of the hot log that readers resume from without touching the disk. Older events are read from the store.
pub const HOT_BYTES: usize = 3 * 1024 * 1024;
/// Events that wait for the disk, on a box with 1 GB or more; see [`lag_bytes`]. When they are more, publishing is refused (503 to
/// programs, a counter and an alert for sources): the log stays dense and acquisition is told, rather than memory growing or
/// events vanishing.
pub const LAG_BYTES: usize = 64 * 1024 * 1024;
/// The same on the smallest box: some seconds of a card that stalls while all sources are busy.
pub const LAG_LEAST: usize = 8 * 1024 * 1024;

/// What may wait for the disk on a box with so much memory, a sixteenth of it: rows of scans may take as much again before they are
/// refused, and an eighth for both leaves a Pi with 512 MB its page cache. Where the memory is not known, [`LAG_BYTES`].
pub fn lag_bytes(memory: Option<u64>) -> usize {
    let share = memory.and_then(|bytes| usize::try_from(bytes / 16).ok());
    share.unwrap_or(LAG_BYTES).clamp(LAG_LEAST, LAG_BYTES)
}

/// State keys. A publisher that invents ids for ever is refused a new key after this many.
pub const STATE_KEYS: usize = 20_000;
/// Jobs, scans and the like that have ended and are still part of the state; of older ones only records remain.
pub const RETIRED: usize = 64;
/// Idempotency keys and producers remembered; the oldest is forgotten first.
pub const IDEMPOTENCY_KEYS: usize = 4_096;

/// Silence after which a reader is sent a heartbeat. Contracts: 5 s, named, with data.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// A live reader that accepts no byte for this long is closed; it resumes from its cursor.
pub const READER_STALL: Duration = Duration::from_secs(20);
/// What a group of readers keeps encoded for its slow members; who is further behind is fed from the store.
pub const GROUP_BYTES: usize = 512 * 1024;
/// What one send takes at most, so that one reader with a huge socket buffer does not hold up the others.
pub const SEND_BYTES: usize = 256 * 1024;
/// Readers being fed from the store at one time, each with a thread; further ones are asked to come back.
pub const CATCH_UPS: usize = 64;
/// One page of history: read, encoded and sent before the next is read.
pub const PAGE_BYTES: usize = 256 * 1024;
/// One `snapshot` frame; a larger state is split.
pub const SNAPSHOT_BYTES: usize = 256 * 1024;

/// The head of a request, in bytes and in time. More is 431, later is 408.
pub const HEAD_BYTES: usize = 16 * 1024;
/// Headers of one request; more is 431.
pub const HEADERS: usize = 64;
/// Time for a whole head once its first byte is there.
pub const HEAD_TIME: Duration = Duration::from_secs(10);
/// Time a kept-alive connection may be silent.
pub const IDLE_TIME: Duration = Duration::from_secs(60);
/// A body that is read whole; more is 413. Streams of NDJSON have no limit in sum, only a line has.
pub const BODY_BYTES: usize = 4 * 1024 * 1024;
/// One line of NDJSON.
pub const LINE_BYTES: usize = 128 * 1024;
/// Time without a byte of the body.
pub const BODY_TIME: Duration = Duration::from_secs(20);
/// Events in one JSON array or one poll.
pub const BATCH: usize = 10_000;
/// The slowest rate, in bytes a second, at which a body that is read whole or an answer may move; slower is ended.
pub const SLOWEST_RATE: u64 = 4 * 1024;
/// Bodies in memory over all connections; past it a further one is told 503.
pub const BODIES_BYTES: usize = 32 * 1024 * 1024;
/// A body that nobody asked for is read off up to here to keep the connection; past it the connection ends.
pub const DRAIN_BYTES: u64 = 64 * 1024;
/// After a refusal: what is still taken from the peer, and for how long, so that it gets to read the answer.
pub const LINGER_BYTES: usize = 16 * 1024 * 1024;
/// See [`LINGER_BYTES`].
pub const LINGER_TIME: Duration = Duration::from_secs(2);
/// The extension of one chunk, and all trailers of a body; more is 400.
pub const CHUNK_EXTENSION: usize = 256;
/// See [`CHUNK_EXTENSION`].
pub const TRAILER_BYTES: usize = 4 * 1024;
/// A login or a report of the page.
pub const SMALL_BODY: usize = 16 * 1024;
/// Failed logins of one address within a minute; more is 429.
pub const LOGIN_TRIES: u32 = 5;
/// Addresses whose failed logins are remembered; the oldest is forgotten first.
pub const LOGIN_ADDRESSES: usize = 1_024;
/// How long a login lasts.
pub const LOGIN_TIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// Detections in the index, some 40 bytes each; older ones are in the log, but neither listed nor summed up.
pub const DETECTIONS: usize = 200_000;
/// Discrepancies in the summary, and those that are alerts; further ones are only counted by looking at the planogram.
pub const DISCREPANCIES: usize = 100;
/// Vision processes whose failures are remembered; the first by name is forgotten first.
pub const VISION_SOURCES: usize = 64;
/// Events that an index reads of the log in one step, and their bytes: others are let in between.
pub const FOLLOWED: usize = 1_000;
/// See [`FOLLOWED`].
pub const FOLLOWED_BYTES: usize = 1024 * 1024;
/// Streams with a history and an age; further ones are only passed on.
pub const STREAMS_KNOWN: usize = 128;
/// Hours of history of a stream on the disk.
pub const STREAM_HOURS: u64 = 24;
/// `[[stream]]`s; more are refused by the configuration.
pub const STREAM_RULES: usize = 64;
/// A message of a feed; a larger one closes its connection, which is made anew.
pub const FEED_MESSAGE: usize = 1024 * 1024;
/// Silence after which a feed is stale, unless configured.
pub const FEED_STALE: Duration = Duration::from_secs(15);
/// The longest rest of a feed's thread, and how often its counts are said.
pub const FEED_REST: Duration = Duration::from_secs(5);
/// Signals, generated and posted; a further one is refused.
pub const SIGNALS: usize = 256;
/// Newest samples of a signal kept in memory, some 50 bytes each; older ones are read from the store.
pub const SIGNAL_RECENT: usize = 4_000;
/// Spans of samples that can be read back, of all signals together, some 200 bytes each: three million samples that come in batches.
/// The oldest are forgotten first; what they stand for is stored, but no longer shown.
pub const SIGNAL_SPANS: usize = 24_576;
/// Commands for signals that wait; a further one is told 503.
pub const SIGNAL_COMMANDS: usize = 16;
/// Samples in one request; more is 413. Filled in they are some 5 MB, in events of 64 KB.
pub const SIGNAL_POST: usize = 50_000;
/// The longest rest of the generator's thread.
pub const SIGNAL_REST: Duration = Duration::from_secs(5);
/// A file served from `--www`; a larger one is 404.
pub const FILE_BYTES: u64 = 16 * 1024 * 1024;
/// TCP_USER_TIMEOUT: what was sent and not acknowledged for this long ends the connection.
pub const PEER_GONE: Duration = Duration::from_secs(20);
/// Descriptors kept for the store, sources and the push pool when the limit is small.
pub const DESCRIPTORS_KEPT: usize = 40;
/// A `durable` publish that is not on the disk by then is told 503: accepted, not yet durable.
pub const DURABLE_TIME: Duration = Duration::from_secs(10);

/// Connections with a thread. At the cap the one idle longest without a request gives way.
pub const CONNECTIONS: usize = 512;
/// Readers holding a stream. At the cap a new one is told 503 with Retry-After.
pub const STREAMS: usize = 8_192;
/// Connections from one address that is not loopback. At the cap its own longest idle one gives way, else 503.
pub const PER_ADDRESS: usize = 64;

/// The configuration file; a larger one is refused before it is read.
pub const CONFIG_BYTES: u64 = 1024 * 1024;
/// Faults of the configuration that are listed; further ones are counted.
pub const CONFIG_ERRORS: usize = 100;
/// Serial ports, each with a thread; more are refused by the configuration.
pub const SERIAL_PORTS: usize = 32;
/// Mappings of one serial port; more are refused by the configuration.
pub const MAPPINGS: usize = 256;

/// A line from a serial port, unless configured; what is longer is counted and skipped to the next line end.
pub const SERIAL_LINE: usize = 4 * 1024;
/// A block of a SCPI answer (`#42048...`); a longer one is skipped and counted.
pub const SCPI_BLOCK: usize = 64 * 1024;
/// What is skipped of one SCPI block at most: a header that lies must not make us deaf. Then it is a fault.
pub const SCPI_SKIP: usize = 16 * 1024 * 1024;
/// Errors read from an instrument's queue in one go: a device that reports without end is left alone until the next time.
pub const SCPI_ERRORS: u32 = 20;
/// Commands that wait for one instrument; a further one is rejected.
pub const INSTRUMENT_COMMANDS: usize = 16;
/// Types of NMEA sentences counted one by one; those of further types are counted together.
pub const NMEA_TYPES: usize = 32;
/// Readings a second of one serial port, unless configured; more are counted, dropped and told as an alert: a device
/// that floods must not crowd the others out of the store. A port at 115,200 baud sends fewer.
pub const SERIAL_READINGS: u32 = 2_000;
/// Bytes a second taken from one serial port, more than 4,000,000 baud can carry; what floods faster (a pseudo-terminal)
/// is held back by the kernel.
pub const SERIAL_RATE: usize = 512 * 1024;
/// Bytes that wait to be written to one serial port; what does not fit is dropped and counted.
pub const SERIAL_OUT: usize = 64 * 1024;
/// A device that takes no byte for this long is not going to: what waits for it is dropped and counted.
pub const SERIAL_OUT_TIME: Duration = Duration::from_secs(5);
/// Orders and commands that wait for one serial port; a further one is refused.
pub const SERIAL_ORDERS: usize = 16;
/// One record of a capture; longer ones are skipped when it is read.
pub const CAPTURE_RECORD: usize = 16 * 1024;
/// A capture and the one before it, unless configured; then the older one goes.
pub const CAPTURE_BYTES: u64 = 64 * 1024 * 1024;
/// Commands remembered after their end, for `GET /api/commands/{id}`.
pub const COMMANDS: usize = 1_024;
/// A command whose effect is not observed within this time has timed out.
pub const COMMAND_TIME: Duration = Duration::from_secs(10);
/// A device file of pyvisa-sim; the largest that come with QCoDeS have 25 KB. A larger one is not read.
pub const VISA_FILE: u64 = 1024 * 1024;
/// Values in a device file, aliases counted as what they stand for, and queries of its channels: ten times what the
/// largest of QCoDeS has. A file with more is not read.
pub const VISA_VALUES: usize = 50_000;
/// How deep a device file goes; eight levels have a meaning. One that goes deeper is not read.
pub const VISA_DEPTH: usize = 32;
/// Characters that a value in an answer may be padded to, and digits behind its point; more is a fault of the file.
pub const VISA_WIDTH: usize = 128;
/// Numbers that one answer of a simulated device draws; asked for more, it does not answer.
pub const VISA_DRAWN: usize = 1_000;
/// Bytes of a message to a simulated device that has not ended; then it is forgotten.
pub const VISA_MESSAGE: usize = 16 * 1024;
/// Bytes of a simulated device's answers that wait to be read; more are lost.
pub const VISA_ANSWERS: usize = 256 * 1024;
/// Errors in the queue of a simulated device; further ones are not noted.
pub const VISA_ERRORS: usize = 1_000;
/// Bytes that wait for the next step at one port of the simulated bench; more are lost, as in a device's own buffer.
pub const BENCH_INPUT: usize = 1024;
/// Stop: everything is on the disk and closed within this time.
pub const STOP_TIME: Duration = Duration::from_secs(2);
/// Values of one recorder or instrument, and columns of one stream: a device that invents names is refused a new one
/// after this many. With their qualities they stay under the 64 KB of one payload.
pub const CHANNELS: usize = 200;
/// Members, columns or groups taken from one line; the rest of the line is not read.
pub const FIELDS: usize = 256;
/// Edges of one pin a second, over [`GPIO_FLOOD_TIME`], unless configured. A contact that bounces has some hundred, a
/// square wave of 1 kHz has 2,000 and is wanted; an input that nobody drives follows the mains and every radio nearby
/// with tens of thousands. A pin that has more is parked, loudly: it would take the processor from all others.
pub const GPIO_FLOOD: u32 = 2_500;
/// See [`GPIO_FLOOD`].
pub const GPIO_FLOOD_TIME: Duration = Duration::from_secs(5);
/// How long a pin stays parked, first and at most; each time it floods again, twice as long.
pub const GPIO_PARKED: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3_600));
/// Pins: what a compute module has at most, and what one thread serves with ease. More are refused by the configuration.
pub const GPIO_PINS: usize = 64;
/// How often a pin's level, count or rate is published at most, unless configured: faster than anyone reads, and a
/// chattering contact stays a line on a chart instead of a flood of its own.
pub const GPIO_INTERVAL: Duration = Duration::from_millis(50);
/// Edges of one pin that are records of their own within a second, some 15 KB of them; further ones go together into one
/// record a second.
pub const GPIO_EDGES: u32 = 100;
/// Edges whose times one such record holds; of further ones it says how many there were.
pub const GPIO_BATCH_TIMES: usize = 500;
/// Orders that wait for one output; a further one is refused.
pub const ORDERS: usize = 16;
/// Recorders that are told of by pins, ports, HTTP or the configuration; a further one is refused.
pub const RECORDERS: usize = 64;
/// Silence after which a recorder that is told of over HTTP counts as offline, unless configured.
pub const RECORDER_STALE: Duration = Duration::from_secs(10);
/// Commands to one recorder that wait for their effect; a further one is rejected.
pub const RECORDER_PENDING: usize = 8;
/// Changes of motion that are remembered of one recorder; the oldest is forgotten first.
pub const MOTION_HISTORY: usize = 256;
/// A request that tells a recorder something, from its name to the end of the answer.
pub const RECORDER_HTTP: Duration = Duration::from_secs(5);
/// Jobs whose lease is watched; a further one is refused with 503 until one ends.
pub const JOBS: usize = 1_024;
/// The lease of a job whose poster does not say: without a sign of life for so long it has failed.
pub const JOB_LEASE: Duration = Duration::from_secs(60);
/// Shortest and longest lease.
pub const JOB_LEASES: (u64, u64) = (5, 86_400);
/// What is kept of the last line that was not understood, in characters.
pub const BAD_LINE: usize = 160;

/// Recordings that are listed; further files are counted and said, not listed. Some 1 KB of memory each was measured
/// with 10,000 of them, lists being read.
pub const RECORDINGS: usize = 200_000;
/// Folders below the recordings folder, and how deep they may be in each other; deeper ones are said, not read. Each
/// takes one of the watches of inotify, of which a user has 8,192 on small systems.
pub const FOLDERS: usize = 4_096;
/// See [`FOLDERS`].
pub const FOLDER_DEPTH: usize = 4;
/// Events of the watched folders taken in one go; the rest in the next.
pub const WATCH_EVENTS: usize = 16_384;
/// Changes of recordings told one by one in a second; of further ones only their number is.
pub const CHANGES_TOLD: u32 = 200;
/// Changes of recordings that wait for their thread; a further one is told 503.
pub const RECORDING_REQUESTS: usize = 64;
/// Chunks before or behind the samples of a WAV; a file with more is not read.
pub const WAV_CHUNKS: usize = 64;
/// A file beside a recording that says more of it; a larger one is not read.
pub const SIDECAR_BYTES: u64 = 256 * 1024;
/// Markers of one recording; further ones are left out. With the rest they stay under the 64 KB of one payload.
pub const MARKERS: usize = 256;
/// What is searched of the transcript of one recording; the rest is left out.
pub const TRANSCRIPT_BYTES: usize = 8 * 1024;
/// The same of all recordings together; beyond it only [`EXCERPT_CHARS`] of a further one are searched.
pub const TRANSCRIPTS_BYTES: usize = 16 * 1024 * 1024;
/// What a list shows of a transcript.
pub const EXCERPT_CHARS: usize = 240;
/// Words for what made a recorder start that a list offers to choose from; further ones are left out.
pub const TRIGGER_WORDS: usize = 256;
/// The name of a recording without its extension; a longer one is refused. File systems take 255 with it.
pub const NAME_BYTES: usize = 200;
/// The label of a recording; a longer one is refused.
pub const LABEL_BYTES: usize = 200;
/// Frames of the shortest block whose extremes are kept.
pub const PEAK_BLOCK: u64 = 256;
/// Blocks of one recording; past it neighbours are joined. 4 MB while it is being computed.
pub const PEAK_PAIRS: usize = 1 << 20;
/// A stored waveform; a larger file is none of ours.
pub const PEAK_FILE_BYTES: u64 = 8 * 1024 * 1024;
/// All stored waveforms; past it those that were not looked at for longest go, and are computed again when wanted.
pub const PEAKS_BYTES: u64 = 256 * 1024 * 1024;
/// Growing recordings whose waveform goes on where it was; of further ones it is computed from the beginning.
pub const PEAK_BUILDERS: usize = 8;
/// Waveforms that somebody waits for; a further one is asked for again by its page.
pub const PEAKS_ASKED: usize = 64;
/// Waveforms of what was just finished, and dropped files, that can wait; further ones are done when asked for.
pub const PEAKS_LATER: usize = 1_024;
/// Samples up to here are read at once rather than looked up.
pub const PEAK_DIRECT_BYTES: u64 = 2 * 1024 * 1024;
/// From here on a first look is taken at places, until all has been read.
pub const PEAK_ROUGH_BYTES: u64 = 16 * 1024 * 1024;
/// Places of a first look, each a page of the file: a card reads some 1,000 to 2,000 of them in a second.
pub const PEAK_LOOKS: usize = 1_000;
/// Recordings removed in one go; the rest in the next.
pub const PURGES: usize = 1_000;
/// Files looked at in the drop folder at one time; the rest when these are gone.
pub const DROPPED: usize = 1_000;
/// Recordings in one archive; more is refused.
pub const ARCHIVE: usize = 1_000;
/// Room that a clip leaves on the disk; without it the clip is refused.
pub const ROOM_LEFT: u64 = 16 * 1024 * 1024;
/// What the bench's own recordings may take, some twenty of them; older ones go.
pub const BENCH_RECORDINGS_BYTES: u64 = 16 * 1024 * 1024;
/// What is read of a file at one time while it is sent.
pub const FILE_CHUNK: usize = 64 * 1024;
/// Rules on values; more are refused by the configuration.
pub const ALERT_RULES: usize = 256;
/// Stops that went to an instrument itself and are not answered yet; the oldest is given up beyond that.
pub const STOPS_KEPT: usize = 256;
/// How long the answer to an emergency stop waits for pins to be in their safe state, which takes them milliseconds.
pub const STOP_ANSWER: Duration = Duration::from_millis(500);
/// Further conditions of one rule (`and`): what nobody can read in one look nobody can trust either.
pub const ALERT_AND: usize = 8;
/// Values that one rule with a `*` watches; further ones are not watched, said once in the log.
pub const ALERT_INSTANCES: usize = 256;
/// Open alerts. At the bound a new one is not listed; it is counted, and one alert says that the list is full.
pub const ALERTS_OPEN: usize = 512;
/// Alerts that are no longer open and whose occurrences are still counted; the one raised longest ago is forgotten.
pub const ALERTS_REMEMBERED: usize = 1_024;
/// Occurrences of one alert in [`CHATTER_TIME`] past which it is held as one that keeps coming back.
pub const CHATTER: usize = 5;
/// See [`CHATTER`].
pub const CHATTER_TIME: Duration = Duration::from_secs(600);
/// An alert that keeps coming back is over after this long without its condition.
pub const CHATTER_QUIET: Duration = Duration::from_secs(300);
/// An alert of an earlier run that nothing here speaks of is over after this long.
pub const ALERT_ORPHAN: Duration = Duration::from_secs(60);
/// The message or value of an active alert is published anew at most this often; a worse severity at once.
pub const ALERT_UPDATE: Duration = Duration::from_secs(60);
/// Receivers of alerts of one kind; more are refused by the configuration.
pub const ALERT_CHANNELS: usize = 16;
/// Messages that wait to be delivered. At the bound the oldest of the least severe is dropped and counted.
pub const OUTBOX: usize = 256;
/// First and longest pause before a delivery that failed is tried again; it doubles in between, give or take a quarter.
pub const DELIVERY_PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));
/// The longest a receiver may put us off with Retry-After.
pub const DELIVERY_PUT_OFF: Duration = Duration::from_secs(3600);
/// Time for the connection of a delivery.
pub const DELIVERY_CONNECT: Duration = Duration::from_secs(10);
/// Time for all of a delivery.
pub const DELIVERY_TIME: Duration = Duration::from_secs(30);
/// Stop: how long a delivery under way is waited for; it is made again at the next start.
pub const DELIVERY_STOP: Duration = Duration::from_millis(300);
/// Steps of the clock whose effect on earlier events is remembered. A clock that is set more often while nobody
/// disciplines it leaves the oldest events uncorrected.
pub const CLOCK_CORRECTIONS: usize = 64;
/// After the clock was set forward nothing is deleted by age for this long: a jump to 2037 must not empty the store
/// before somebody has seen it.
pub const CLOCK_HOLD: Duration = Duration::from_secs(600);
/// Bytes of blocks that one request that reads the log back decodes; then it is told where to go on. A card reads that
/// within a second, and nobody waits for minutes because what is looked for is not there.
pub const SEARCH_BYTES: usize = 8 * 1024 * 1024;
/// Whoever changed the configuration waits this long for it to be in use: sources are ended and started meanwhile.
pub const RELOAD_TIME: Duration = Duration::from_secs(15);
/// Units that are watched; more are refused by the configuration. What systemctl says of them fits into one pipe.
pub const SERVICES: usize = 32;
/// Queues of scans; a further one is refused.
pub const QUEUES: usize = 64;
/// Scans that wait or run in one queue; a further one is refused.
pub const QUEUED_SCANS: usize = 1_000;
/// The description of one scan; a larger one is refused. A list of some 8,000 values fits.
pub const DESCRIPTION_BYTES: usize = 64 * 1024;
/// Bytes of the descriptions of all scans that wait or run, as text; in memory they take several times that. A scan beyond
/// it is refused. As much again for those that have ended, of which the oldest then goes. Scans of programs have as much of both.
pub const DESCRIPTIONS_BYTES: usize = 8_000_000;
/// Templates; a further one is refused.
pub const TEMPLATES: usize = 200;
/// Descriptions of one template, and of one request; more are refused.
pub const TEMPLATE_SCANS: usize = 100;
/// Commands that wait for the lab's thread; a further one is told 503.
pub const LAB_COMMANDS: usize = 64;
/// A scan's status is published at most this often, besides changes of what it is doing or was asked.
pub const SCAN_STATUS: Duration = Duration::from_millis(250);
/// The same of a queue whose progress alone has changed.
pub const QUEUE_STATUS: Duration = Duration::from_secs(1);
/// How often the lab's thread looks, while a scan is under way and while none is.
pub const LAB_TICK: Duration = Duration::from_millis(100);
/// See [`LAB_TICK`].
pub const LAB_IDLE_TICK: Duration = Duration::from_secs(1);
/// Whoever changed a queue waits this long for it to be on the disk; then it is told that it may not be.
pub const SHELF_TIME: Duration = Duration::from_secs(8);
/// Changes of queues and scans that nobody waits for go to the disk together, this long after the first: each
/// transaction costs a card some 40 KB.
pub const SHELF_GATHERS: Duration = Duration::from_millis(200);
/// After they could not be written they are tried again this much later, and whenever somebody waits.
pub const SHELF_AGAIN: Duration = Duration::from_secs(2);
/// How often a scan whose instruments are not free tries again, besides whenever one is given back.
pub const CLAIM_AGAIN: Duration = Duration::from_secs(1);
/// A scan sends nothing while its end or its pause was asked for and the lab's thread has not come to that, which may be at
/// the disk; at most for this long, as what it waits for may never be decided.
pub const LAB_BEHIND: Duration = Duration::from_secs(5);
/// A wait of a scan that nothing else bounds looks for what was asked of it this often, besides when it is poked.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How often `wait_until` reads its channel.
pub const WAIT_UNTIL_POLL: Duration = Duration::from_millis(200);
/// Settling from this long on is shown as what a scan does.
pub const SHOWN_SETTLE: Duration = Duration::from_millis(500);
/// An instrument's source ends each request by itself; one that does not is given up this long after its own time.
pub const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// A command for a queue or a scan, except an abort, may take this long: a pause waits for a point, a start for an
/// instrument. Then it has timed out, though the wish stays.
pub const LAB_COMMAND_TIME: Duration = Duration::from_secs(24 * 3600);
/// After the start, instruments of interrupted scans are looked for this long to be made safe.
pub const MAKE_SAFE: Duration = Duration::from_secs(60);
/// How often that is tried: while a port is not open yet, or a device not awake.
pub const MAKE_SAFE_AGAIN: Duration = Duration::from_secs(1);
/// A line of a scan's log; the rest is left out.
pub const LOG_CHARS: usize = 4_000;
/// Names of queues, scans and templates; the rest is left out.
pub const NAME_CHARS: usize = 100;
/// Rows of scans in memory that are in no block on the disk yet, in bytes over all scans; past it they are put in blocks
/// that are not full, which are written again later. Past twice as much, because they come faster than blocks are
/// written, further ones are refused with 503. On a small box half of [`lag_bytes`].
pub const BOOK_BYTES: usize = 32 * 1024 * 1024;
/// Scans whose rows are held in memory; past it those that were not used for longest are put on the disk and let go.
pub const BOOK_SCANS: usize = 4_096;
/// Measurements of one scan; rows of a further one are refused.
pub const MEASUREMENTS: usize = 64;
/// Columns of one measurement; a row with more is refused.
pub const COLUMNS: usize = 256;
/// The name of a column or a measurement, in bytes; a longer one is refused.
pub const COLUMN_NAME: usize = 200;
/// The text of one row; a larger one is refused, as it has to fit into one event of 64 KB.
pub const ROW_BYTES: usize = 56 * 1024;
/// How long rows of a fast scan wait for each other, to be told as one: at most ten frames a second of one scan.
pub const ROWS_HELD: Duration = Duration::from_millis(100);
/// How long rows are in the log alone at most: what a start after a crash has to read of it.
pub const ROWS_IN_LOG: Duration = Duration::from_secs(600);
/// How often full blocks are written, all that there are at a time: each time costs the card some 40 KB.
pub const ROWS_WRITTEN: Duration = Duration::from_secs(5);
/// While there are more rows of scans on the disk than are kept, what can go is looked for this often.
pub const SURPLUS_AGAIN: Duration = Duration::from_secs(5);
/// Memory of the rows that are read at a time; the rest is read when these have gone out.
pub const ROWS_READ: usize = 4 * 1024 * 1024;
/// Lines of a log as a file: the newest; the file says where the older ones begin.
pub const LOG_FILE_LINES: usize = 10_000;
/// Bytes of it, which are in memory until they are sent.
pub const LOG_FILE_BYTES: usize = 4 * 1024 * 1024;
/// Time it is looked for in a log that has little of it; then it says where to go on.
pub const LOG_FILE_TIME: Duration = Duration::from_secs(10);
/// Scans that are played back at one time, each with a thread; a further one is told 503.
pub const PLAYBACKS: usize = 8;
/// Points of a scan that says `max_points` itself; without it the configuration's figure holds. A step size that was set
/// wrong must not become a scan of weeks.
pub const SCAN_POINTS: u64 = 10_000_000;
/// Steps of one description, those in loops among them; more are refused.
pub const SCAN_STEPS: usize = 1_000;
/// Loops within loops; more are refused.
pub const SCAN_DEPTH: usize = 8;
/// Channels of one row; more are refused.
pub const SCAN_COLUMNS: usize = 256;
/// Faults of a description that are listed; the rest is counted in the last one.
pub const SCAN_FAULTS: usize = 100;
/// Reads of a channel for one point, and tries of a step that fails; more are refused.
pub const SCAN_SAMPLES: u32 = 1_000;
/// The longest of any single time in a description: a year.
pub const SCAN_TIME: Duration = Duration::from_secs(366 * 24 * 3600);
/// Bytes of a text in a description (a log line, a query, a prompt); more is refused.
pub const SCAN_TEXT: usize = 4096;
/// Scans that programs execute at one time; a further one is refused.
pub const EXTERNAL_SCANS: usize = 4_096;
/// The lease of a program, and its time to confirm, where it does not say: silent for so long it counts as silent.
pub const LEASE: Duration = Duration::from_secs(30);
/// Shortest and longest of both.
pub const LEASES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(86_400));
/// The longest that a request waits for something to be wanted of a program.
pub const CONTROL_WAIT: Duration = Duration::from_secs(30);
/// Requests that wait so, each with a connection's thread; a further one is told 503.
pub const CONTROL_WAITS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_box_lets_less_wait() {
        const MB: usize = 1 << 20;
        for (memory, bytes) in
            [(None, 64), (Some(64), 8), (Some(448), 28), (Some(1_024), 64), (Some(8_192), 64)]
        {
            assert_eq!(lag_bytes(memory.map(|mb: u64| mb << 20)), bytes * MB, "{memory:?}");
        }
        assert_eq!(lag_bytes(Some(u64::MAX)), LAG_BYTES);
    }
}
