//! What becomes of an answer: of the question who it is, of a poll, a setting, the error queue, a request.

use super::*;

impl Scpi {
    /// One whole answer.
    pub(super) fn answered(&mut self, answer: Answer, now: Duration, actions: &mut Vec<Action>) {
        let acknowledges = matches!(self.state, State::Asked { question: Question::Ack, .. });
        if !self.last_sent.is_empty() && answer.line == self.last_sent.as_bytes() && !acknowledges {
            return actions.push(Action::Count("echoes", 1));
        }
        let question = match std::mem::replace(&mut self.state, State::Free { from: now + self.config.gap }) {
            State::Asked { question, .. } => question,
            other => {
                self.state = other;
                self.owed = self.owed.saturating_sub(1);
                return actions.push(Action::Count("unasked", 1));
            }
        };
        if answer.skipped > 0 {
            actions.push(Action::Count("blocks_skipped", 1));
        }
        if answer.overlong {
            actions.push(Action::Count("overlong", 1));
        }
        if let Question::Identify = question {
            return self.identified(&answer, now, actions);
        }
        // Since the time-out it was asked nothing but who it is, perhaps several times.
        if self.owed > 0
            && self.last_sent != self.config.identify
            && self.idn.is_some()
            && answer.text() == self.idn
        {
            self.owed -= 1;
            self.state = State::Asked { question, deadline: now + self.config.timeout, heard: 0 };
            return actions.push(Action::Count("late", 1));
        }
        // Answers come in the order of their questions: this one is none of those before it.
        self.owed = 0;
        self.misses = 0;
        self.lost = false;
        match question {
            Question::Identify => {}
            Question::Nobody => actions.push(Action::Heard),
            Question::Ack => {
                log::trace!("`{}` is acknowledged by `{}`", self.last_sent, shortened(&answer.shown()));
                actions.push(Action::Heard);
            }
            Question::Poll(n) => self.polled(n, &answer, actions),
            Question::Setting => self.setting_heard(Some(&answer), now, actions),
            Question::Errors(drain) => self.error_heard(drain, &answer, actions),
            Question::Job => match self.job.take() {
                None => {}
                Some(Job::Query { id, .. }) => {
                    actions.push(Action::Heard);
                    actions.push(Action::Finish(Finish {
                        id,
                        state: CommandState::Completed,
                        code: None,
                        reason: None,
                        readings: Vec::new(),
                        text: Some(answer.shown()),
                    }));
                }
                Some(Job::Read(read)) => self.read(read, &answer, now, actions),
                Some(Job::Drive(drive)) => self.looked(drive, &answer, now, actions),
            },
        }
    }

    fn identified(&mut self, answer: &Answer, now: Duration, actions: &mut Vec<Action>) {
        let deadline = now + self.config.timeout;
        let Some(text) = answer.text() else {
            self.owed = self.owed.saturating_sub(1);
            self.state = State::Asked { question: Question::Identify, deadline, heard: 0 };
            return actions.push(answer.bad("is not text"));
        };
        if self.owed > 0 && !self.is_expected(&text) && self.stranger.as_ref() != Some(&text) {
            // An answer to what was asked before the time-out; who it is is still to come.
            self.owed -= 1;
            self.late = Some(text);
            self.state = State::Asked { question: Question::Identify, deadline, heard: 0 };
            return actions.push(Action::Count("late", 1));
        }
        (self.late, self.stranger) = (None, None);
        self.adrift = false;
        self.misses = 0;
        self.lost = false;
        actions.push(Action::Heard);
        if self.idn.as_ref() != Some(&text) {
            actions.push(Action::Detail("idn", text.clone().into()));
        }
        let fits = self.expect.as_ref().is_none_or(|e| e.is_match(&text));
        let was_wrong = matches!(self.standing, Standing::Wrong { .. });
        if fits {
            self.standing = Standing::Known;
            if std::mem::take(&mut self.said_wrong) {
                actions.push(Action::Readings(vec![word("status", "connected"), word("error", "")]));
            }
        } else {
            let expect = self.config.expect.as_deref().unwrap_or_default();
            let why = format!(
                "it answers `{}` to `{}`, which does not match `{expect}`: is another device plugged in here?",
                shortened(&text),
                self.config.identify
            );
            if !was_wrong || self.idn.as_ref() != Some(&text) {
                let all: Vec<usize> = (0..self.config.channels.len()).collect();
                let mut readings = self.missing(&all, QualityReason::DeviceError);
                readings.extend([word("status", "error"), word("error", &why)]);
                self.said_wrong = true;
                actions.push(Action::Count("wrong_device", 1));
                actions.push(Action::Readings(readings));
            }
            self.disown_errors();
            let job = self.job.take().map(|job| job.id().to_string());
            let drives = self.under_way.drain(..).map(|drive| drive.id);
            let reject = |id: String| ended(&id, CommandState::Rejected, Some(why.clone()));
            actions.extend(job.into_iter().chain(drives).map(reject));
            self.standing = Standing::Wrong { why, again: now + WRONG_AGAIN };
        }
        self.idn = Some(text);
    }

    /// Whether this is who it has to be, or was. Before anything is known of it, it was asked nothing else.
    fn is_expected(&self, text: &str) -> bool {
        let fits = self.expect.as_ref().map(|expect| expect.is_match(text));
        match (&self.idn, &self.standing) {
            (Some(known), Standing::Known) => known == text,
            (Some(known), _) => known == text || fits == Some(true),
            (None, _) => fits.unwrap_or(true),
        }
    }

    fn polled(&mut self, n: usize, answer: &Answer, actions: &mut Vec<Action>) {
        let Some(ask) = self.asks.get_mut(n) else { return };
        ask.misses = 0;
        let (mut readings, mut bad, mut good) = (Vec::new(), None, 0);
        for (n, channel) in ask.channels.iter().filter_map(|n| Some((*n, self.config.channels.get(*n)?))) {
            match value_of(channel, answer, channel.part) {
                Ok(value) => {
                    good += 1;
                    note(&mut self.stands, n, channel, &ask.query, &value);
                    readings.push(reading(channel, value));
                }
                Err(why) => {
                    bad.get_or_insert_with(|| answer.bad(&format!("{why} (asked {})", ask.query)));
                    readings.push(reading(channel, Value::Missing(QualityReason::CommError)));
                }
            }
        }
        let mut motion = Vec::new();
        for channel in ask.movers.iter().filter_map(|n| self.config.channels.get(*n)) {
            match moves_of(channel, answer) {
                Ok(moves) => motion.push(motion_of(channel, moves)),
                Err(why) => {
                    bad.get_or_insert_with(|| answer.bad(&format!("{why} (asked {})", ask.query)));
                }
            }
        }
        if good == 0 && !motion.is_empty() {
            actions.push(Action::Heard);
        }
        actions.extend(motion);
        // With nothing understood at all the values stay and go stale, as with any line that is not understood.
        if good > 0 {
            actions.push(Action::Readings(readings));
        }
        actions.extend(bad);
    }

    /// A setting was answered, or was not: one that a device does not know is left out.
    pub(super) fn setting_heard(
        &mut self,
        answer: Option<&Answer>,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let name = self.config.settings.keys().nth(self.settings_next).cloned().unwrap_or_default();
        if let Some(text) = answer.and_then(Answer::text) {
            let text = text.trim_matches(['"', '\'']);
            self.settings.push(Reading { name, value: Value::text(text), unit: None });
        }
        if answer.is_some() {
            actions.push(Action::Heard);
        }
        self.settings_next += 1;
        if self.settings_next >= self.config.settings.len() {
            self.settings_next = 0;
            self.settings_due = now + SETTINGS;
            let settings = std::mem::take(&mut self.settings);
            if !settings.is_empty() {
                actions.push(Action::Settings(settings));
            }
        }
    }

    fn error_heard(&mut self, mut drain: Drain, answer: &Answer, actions: &mut Vec<Action>) {
        let text = answer.text().unwrap_or_default();
        let code = text.split(',').next().and_then(|code| code.trim().parse::<i64>().ok());
        match code {
            None => actions.push(answer.bad(&format!("is no error number (asked {})", self.config.errors))),
            Some(0) => actions.push(Action::Heard),
            Some(_) => {
                let shown = shortened(&text);
                actions.push(Action::Heard);
                actions.push(Action::Count("device_errors", 1));
                actions.push(Action::Detail("last_device_error", json!(shown)));
                actions.push(Action::Readings(vec![word("error", &shown)]));
                drain.found.push(shown);
                drain.left -= 1;
                if drain.left > 0 {
                    self.errors = Some(drain);
                    return;
                }
            }
        }
        if let (true, Some(Job::Drive(drive))) = (drain.of_job, &mut self.job) {
            drive.errors = drain.found;
        }
    }

    /// The answer to one question of a read.
    fn read(&mut self, mut read: Read, answer: &Answer, now: Duration, actions: &mut Vec<Action>) {
        let Some((query, wanted)) = read.queries.get(read.next) else { return };
        read.next += 1;
        // Who shares the answer is told of it as well, and need not be polled so soon.
        let mut told = wanted.clone();
        if let Some(ask) = self.asks.iter_mut().find(|ask| ask.query == *query) {
            told.extend(ask.channels.iter().filter(|n| !wanted.contains(n)));
            ask.due = now + ask.every;
            ask.misses = 0;
        }
        let (mut readings, mut bad, mut good) = (Vec::new(), None, 0);
        for n in told {
            let Some(channel) = self.config.channels.get(n) else { continue };
            let part = if channel.get.as_ref() == Some(query) { channel.part } else { None };
            let value = value_of(channel, answer, part);
            let reading = match value {
                Ok(value) => {
                    good += 1;
                    note(&mut self.stands, n, channel, query, &value);
                    reading(channel, value)
                }
                Err(why) => {
                    bad.get_or_insert_with(|| answer.bad(&format!("{why} (asked {query})")));
                    if wanted.contains(&n) {
                        let shown = shortened(&answer.shown());
                        read.faults.push(format!("`{shown}`, the answer to `{query}`, {why}"));
                    }
                    reading(channel, Value::Missing(QualityReason::CommError))
                }
            };
            if wanted.contains(&n) {
                read.readings.push(reading.clone());
            }
            readings.push(reading);
        }
        if good > 0 {
            actions.push(Action::Readings(readings));
        }
        actions.extend(bad);
        let is_over = read.next >= read.queries.len();
        self.job = Some(Job::Read(read));
        if is_over {
            self.end_read(actions);
        }
    }

    /// The answer to one question of a look at what is on its way.
    fn looked(&mut self, mut drive: Box<Drive>, answer: &Answer, now: Duration, actions: &mut Vec<Action>) {
        let query = drive.queries.get(drive.asked).cloned().unwrap_or_default();
        let channels = &self.config.channels;
        match drive.heard(&query, answer, channels) {
            Err(why) => {
                let reason = format!("the read-back `{}` {why}", shortened(&answer.shown()));
                actions.extend([answer.bad(&why), failed(&drive.id, Failure::DeviceError, reason)]);
                return;
            }
            Ok((readings, motion)) => {
                if readings.is_empty() {
                    actions.push(Action::Heard);
                } else {
                    actions.push(Action::Readings(readings));
                }
                let named = motion.into_iter().filter_map(|(n, moves)| Some((channels.get(n)?, moves)));
                actions.extend(named.map(|(channel, moves)| motion_of(channel, moves)));
            }
        }
        for (n, is) in drive.stands() {
            if let Some(stands) = self.stands.get_mut(n) {
                *stands = Some(is);
            }
        }
        drive.asked += 1;
        if drive.asked < drive.queries.len() {
            self.job = Some(Job::Drive(drive));
            return;
        }
        drive.asked = 0;
        let verdict = drive.judge(now, channels);
        let (state, code, reason) = match verdict {
            Verdict::Look(at) => {
                drive.look_at = at.max(now + self.config.gap);
                return self.under_way.push(*drive);
            }
            Verdict::Arrived => {
                for leg in drive.legs.iter().filter(|leg| leg.wanted.is_some()) {
                    if let Some(arrived) = self.arrived.get_mut(leg.channel) {
                        *arrived = leg.target();
                    }
                }
                (CommandState::Completed, None, None)
            }
            Verdict::Failed(code, why) => (CommandState::Failed, Some(code), Some(why)),
        };
        let readings = drive.readings(channels);
        actions.push(Action::Finish(Finish { id: drive.id, state, code, reason, readings, text: None }));
    }
}
