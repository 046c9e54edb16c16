// The overview: everything at a glance, live. One function a card; a card reads its slices and nothing else.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { repeat } from '../../vendor/lit-html/directives/repeat.js';
import { change, clock, count, bytes, measure, number, percent, span, DASH } from '../core/format.js';
import { t, word } from '../core/i18n.js';
import { attention } from '../parts/attention.js';
import { box_card, services_card, sources_card } from '../parts/box.js';
import { card, empty } from '../parts/card.js';
import { badge, chip } from '../parts/chip.js';
import { icon } from '../parts/icon.js';
import { queue_row, reading, scan_row } from '../parts/lab_rows.js';
import { progress } from '../parts/progress.js';
import { recorder_actions, recorder_level, recorder_state } from '../parts/recorder.js';
import { sparkline } from '../parts/sparkline.js';
import { age_tag, fact, value } from '../parts/value.js';
import { shown_recorders } from '../state/recorders.js';
import { LIMIT_S } from '../state/freshness.js';
import { instrument_counts, readings, shown_instruments } from '../state/instruments.js';
import { job_counts, shown_jobs } from '../state/jobs.js';
import { top_queues } from '../state/queues.js';
import { running_scans } from '../state/scans.js';
import { limit_s, shown_signals } from '../state/signals.js';
import { shown_streams } from '../state/streams.js';

const QUEUES = 5;
const SCANS = 4;
const JOBS = 4;
const VALUES = 4;
const INSTRUMENTS = 8;
const STREAMS = 8;
const SIGNALS = 6;

export function open(app, _route, signal) {
  app.connection.want(['stream/*', 'detections'], { signal });
  return { title: () => t('nav.overview'), draw: () => draw(app) };
}

function draw(app) {
  return html`<div class="overview">
    ${attention(app)}
    <div class="columns">
      <div class="column">${recorder_cards(app)}${jobs_card(app)}${detections_card(app)}</div>
      <div class="column">${queues_card(app)}${instruments_card(app)}${services_card(app)}</div>
      <div class="column">${streams_card(app)}${signals_card(app)}${box_card(app)}${sources_card(app)}</div>
    </div>
  </div>`;
}

/** A title that leads to its page. */
const to_page = (name, title) => html`<a class="card-link" href=${`#/${name}`}>${title}${icon('chevron-right')}</a>`;

/** A list of at most `most` rows, and how many there are besides. */
function list(rows, most, row) {
  return html`<ul class="rows">${repeat(rows.slice(0, most), ({ id }) => id, row)}</ul>${
    rows.length > most ? html`<p class="more">${t('list.more', { n: rows.length - most })}</p>` : nothing}`;
}

// ---- recorder ----

function recorder_cards(app) {
  const { recorders } = app.store.slices;
  if (!recorders.size) {
    return card('recorder', { title: t('recorder.title'), body: () => empty(app, t('recorder.none')) });
  }
  return repeat(shown_recorders(recorders), ([id]) => id, ([id, entry]) => recorder_card(app, id, entry));
}

function recorder_card(app, id, entry) {
  const p = entry.payload;
  const fresh = app.judge(entry, LIMIT_S.recorder);
  return card(`recorder-${id}`, {
    title: html`<a class="card-link" href=${`#/recorder/${encodeURIComponent(id)}`}>${p.name || t('recorder.title')}${icon('chevron-right')}</a>`,
    summary: age_tag(fresh),
    body: () => html`
      ${recorder_state(app, entry, fresh)}
      ${typeof p.level_db === 'number' ? recorder_level(p, fresh) : nothing}
      ${recorder_actions(app, id, entry, fresh)}
      <dl class="facts below">
        ${fact(t('recorder.triggers'), p.triggers?.length ? p.triggers.map((name) => html`<span class="tag">${word('trigger', name)}</span>`) : t('recorder.no_triggers'))}
        ${fact(t('recorder.size'), html`<span class="num">${bytes(p.bytes)}</span>`)}
        ${fact(t('recorder.free'), html`<span class="num">${span(p.free_s)}</span>`)}
        ${fact(t('recorder.last_stop'), p.last_stop ? html`${p.last_stop.reason}, <span class="num">${clock(p.last_stop.at, app.store.clock.now_ms())}</span>` : DASH)}
      </dl>`,
  });
}

// ---- jobs ----

function jobs_card(app) {
  const { jobs } = app.store.slices;
  const counts = job_counts(jobs);
  return card('jobs', {
    title: t('jobs.title'),
    summary: jobs.size ? html`<span class="num">${t('jobs.summary', { running: count(counts.running), queued: count(counts.queued) })}</span>${
      counts.failed ? html` · <strong data-tone="bad">${t('jobs.failed', { n: counts.failed })}</strong>` : nothing}` : null,
    body: () => (jobs.size ? html`<ul class="rows">${repeat(shown_jobs(jobs, JOBS), ({ id }) => id, ({ id, entry }) => job_row(app, id, entry))}</ul>`
      : empty(app, t('jobs.none'))),
  });
}

function job_row(app, id, entry) {
  const p = entry.payload;
  const running = p.status === 'running';
  const fresh = app.judge(entry);
  return html`<li class="row" data-status=${p.status}>
    <div class="row-head"><span class="row-name">${word('job.kind', p.kind)}</span>${badge(app, 'job', id, p.status)}</div>
    <div class="row-sub"><span class="clip">${p.error ?? p.source ?? p.message ?? id}</span>${
      running && typeof p.eta_s === 'number' ? html`<span class="num">${t('time.left', { span: span(p.eta_s) })}</span>` : age_tag(fresh)}</div>
    ${running ? progress(p.progress, { label: `${word('job.kind', p.kind)} ${id}` }) : nothing}
  </li>`;
}

// ---- queues and scans ----

function queues_card(app) {
  const { queues, scans } = app.store.slices;
  const top = top_queues(queues, QUEUES);
  const active = running_scans(scans);
  return card('queues', {
    title: html`<a class="card-link" href="#/queues">${t('queues.title')}${icon('chevron-right')}</a>`,
    summary: queues.size > QUEUES ? t('queues.more', { n: queues.size - QUEUES }) : null,
    body: () => (queues.size || active.length ? html`
      <ul class="rows">${repeat(top, ({ id }) => id, ({ id, entry }) => queue_row(app, id, entry))}</ul>
      <h3 class="card-sub">${t('scans.title')}${active.length > SCANS ? html` <span class="muted">${t('scans.more', { n: active.length - SCANS })}</span>` : nothing}</h3>
      ${active.length ? html`<ul class="rows">${repeat(active.slice(0, SCANS), ({ id }) => id, ({ id, entry }) => scan_row(app, id, entry))}</ul>`
        : html`<p class="empty">${t('scans.none')}</p>`}` : empty(app, t('queues.none'))),
  });
}

// ---- instruments ----

function instruments_card(app) {
  const { instruments } = app.store.slices;
  const counts = instrument_counts(instruments);
  const parts = [
    t('instruments.connected', { n: counts.connected }),
    counts.error ? html`<strong data-tone="bad">${t('instruments.error', { n: counts.error })}</strong>` : null,
    counts.disconnected ? html`<strong data-tone="bad">${t('instruments.disconnected', { n: counts.disconnected })}</strong>` : null,
  ].filter(Boolean);
  return card('instruments', {
    title: html`<a class="card-link" href="#/instruments">${t('instruments.title')}${icon('chevron-right')}</a>`,
    summary: instruments.size ? parts.map((part, i) => html`${i ? ', ' : ''}${part}`) : null,
    body: () => (instruments.size
      ? list(shown_instruments(instruments), INSTRUMENTS, ({ id, entry }) => instrument_row(app, id, entry))
      : empty(app, t('instruments.none'))),
  });
}

function instrument_row(app, id, entry) {
  const p = entry.payload;
  const values = readings(p);
  return html`<li class="row" data-status=${p.status}>
    <div class="row-head"><a class="row-name row-link" href=${`#/instrument/${encodeURIComponent(id)}`}>${p.instrument_name ?? id}</a>${chip('instrument', p.status, { quiet: true })}</div>
    ${p.error ? html`<p class="row-error" data-tone="bad">${p.error}</p>` : nothing}
    ${values.length ? html`<dl class="readings">${values.slice(0, VALUES).map((r) => reading(app, entry, r))}</dl>` : html`<p class="muted">${t('instruments.no_values')}</p>`}
    ${p.used_by ? html`<div class="row-sub"><span class="clip">${t('instruments.used_by', { who: p.used_by })}</span></div>` : nothing}
  </li>`;
}

// ---- streams ----

function streams_card(app) {
  const { streams } = app.store.slices;
  return card('streams', {
    title: to_page('streams', t('streams.title')),
    body: () => (streams.size
      ? list(shown_streams(streams), STREAMS, ({ id, entry }) => stream_row(app, id, entry))
      : empty(app, t('streams.none'))),
  });
}

function stream_row(app, id, { value: entry, feed, history }) {
  const name = feed?.payload.name ?? id;
  const state = feed?.payload.status;
  const p = entry?.payload;
  const fresh = entry && app.judge(entry, LIMIT_S.stream);
  const severe = p?.severity && p.severity !== 'NO_ALARM';
  return html`<li class="row stream" data-status=${state ?? 'unknown'} data-severity=${p?.severity ?? 'NO_ALARM'}>
    <div class="row-head"><span class="row-name">${name}</span><span class="chips">${severe ? chip('severity', p.severity, { quiet: true }) : nothing}${
      p?.quality && p.quality !== 'good' ? chip('quality', p.quality, { quiet: true, text: p.quality_reason ? word('reason', p.quality_reason) : undefined }) : nothing}${
      state ? chip('stream', state, { quiet: true }) : nothing}</span></div>
    <div class="stream-body">
      <div class="stream-value">${p ? html`<span class="big">${value(measure(p.value), { unit: p.unit, fresh, show_age: false })}</span>` : html`<span class="big num">${DASH}</span>`}
        <span class="row-sub">${p ? html`<span class="num">${change(p.change, p.value)}</span>${age_tag(fresh)}` : nothing}</span></div>
      ${sparkline(history, name)}
    </div>
    ${state && state !== 'live' && feed.payload.reason ? html`<div class="row-sub"><span class="clip">${feed.payload.reason}</span></div>` : nothing}
  </li>`;
}

// ---- signals ----

function signals_card(app) {
  const { signals } = app.store.slices;
  return card('signals', {
    title: to_page('signals', t('signals.title')),
    body: () => (signals.size
      ? list(shown_signals(signals), SIGNALS, ({ id, entry }) => signal_row(app, id, entry))
      : empty(app, t('signals.none'))),
  });
}

function signal_row(app, id, entry) {
  const p = entry.payload;
  const fresh = app.judge(entry, limit_s(p));
  const spread = typeof p.stats?.std === 'number' ? ` ± ${number(p.stats.std)}` : '';
  return html`<li class="row">
    <div class="row-head"><span class="row-name">${p.name ?? id}</span>${chip('signals', p.live ? 'live' : 'off', { quiet: true })}</div>
    <div class="row-sub"><span>${t('signals.mean')} ${value(number(p.stats?.mean), { fresh, show_age: false })}<span class="num">${spread}</span></span>
      <span>${t('signals.events')} <span class="num">${count(p.total_events)}</span></span>
      <span>${t('signals.anomalies')} <span class="num">${count(p.anomalies)}</span></span>${age_tag(fresh)}</div>
  </li>`;
}

// ---- detections ----

function detections_card(app) {
  const { summary, recent } = app.store.slices.detections;
  const p = summary?.payload;
  return card('detections', {
    title: to_page('detections', t('detections.title')),
    summary: summary ? age_tag(app.judge(summary)) : null,
    body: () => (summary || recent.length ? html`
      ${p ? html`<dl class="facts dense">
        ${fact(t('detections.total'), html`<span class="num">${count(p.total)}</span>`)}
        ${fact(t('detections.skus'), html`<span class="num">${count(p.unique_skus)}</span>`)}
        ${fact(t('detections.labels'), html`<span class="num">${count(p.unique_labels)}</span>`)}
        ${fact(t('detections.confidence'), html`<span class="num">${percent(p.mean_confidence)}</span>`)}
        ${fact(t('detections.discrepancies'), html`<span class="num" data-tone=${p.discrepancies?.length ? 'warn' : nothing}>${count(p.discrepancies?.length ?? 0)}</span>`)}
      </dl>` : nothing}
      ${recent.length ? html`<h3 class="card-sub">${t('detections.latest')}</h3>
        <ul class="rows tight">${repeat(recent, (e) => e.id, (e) => html`<li class="row">
          <div class="row-sub spread"><span class="clip">${e.payload.label}${e.payload.location ? ` · ${e.payload.location}` : ''}</span>
          <span class="num">${percent(e.payload.confidence)}</span>${age_tag(app.judge(e))}</div></li>`)}</ul>` : nothing}`
      : empty(app, t('detections.none'))),
  });
}
