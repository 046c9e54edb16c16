// One recorder with everything it reports, and the jobs behind it. With several, a row of links to change between them.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { live } from '../../vendor/lit-html/directives/live.js';
import { repeat } from '../../vendor/lit-html/directives/repeat.js';
import { read } from '../core/api.js';
import { DASH, bytes, clock, count, decibel, duration, number, span } from '../core/format.js';
import { t, word } from '../core/i18n.js';
import { blocked_note } from '../parts/blocked.js';
import { card, empty } from '../parts/card.js';
import { chip } from '../parts/chip.js';
import { command_button } from '../parts/command_button.js';
import { icon } from '../parts/icon.js';
import { job_detail } from '../parts/jobs.js';
import { level_course } from '../parts/level_course.js';
import { progress } from '../parts/progress.js';
import { recorder_actions, recorder_level, recorder_state } from '../parts/recorder.js';
import { age_tag, age_text, fact } from '../parts/value.js';
import { LIMIT_S } from '../state/freshness.js';
import { job_counts, shown_jobs } from '../state/jobs.js';
import { louder, shown_recorders } from '../state/recorders.js';

const JOBS = 30;
const HISTORY = 10;
/** A change smaller than this is called steady. */
const STEADY_DB = 1;

export function open(app, route, signal) {
  const page = { id: route.parts[0] ?? null, motion: null, motion_of: null, motion_open: false };
  app.connection.want(['recorder/*', 'job/*'], { signal });
  return {
    title: () => app.store.slices.recorders.get(shown_id(app, page))?.payload.name || t('recorder.title'),
    draw: () => draw(app, page, signal),
    move: (next) => {
      Object.assign(page, { id: next.parts[0] ?? null, motion: null, motion_of: null });
      app.ticker.now();
    },
  };
}

/** The one that was asked for; without a wish the first. */
function shown_id(app, page) {
  return page.id ?? shown_recorders(app.store.slices.recorders)[0]?.[0] ?? null;
}

function draw(app, page, signal) {
  const { recorders } = app.store.slices;
  const id = shown_id(app, page);
  const entry = recorders.get(id);
  return html`<div class="overview recorder-page">
    ${recorders.size > 1 ? switcher(app, id) : nothing}
    ${entry ? recorder(app, page, id, entry, signal) : card('recorder', { title: t('recorder.title'), body: () => (page.id && app.store.complete ? unknown(page.id) : empty(app, t('recorder.none'))) })}
  </div>`;
}

const unknown = (id) => html`<p class="empty" data-empty="unknown">${t('recorder.unknown', { id })}</p>`;

function switcher(app, id) {
  return html`<nav class="tabs" aria-label=${t('recorder.switch')}>${repeat(shown_recorders(app.store.slices.recorders), ([one]) => one, ([one, { payload }]) => html`
    <a class="button" href=${`#/recorder/${encodeURIComponent(one)}`} aria-current=${live(one === id ? 'page' : 'false')}><span>${payload.name || one}</span>${chip('recorder', payload.status, { quiet: true })}</a>`)}</nav>`;
}

function recorder(app, page, id, entry, signal) {
  const p = entry.payload;
  const fresh = app.judge(entry, LIMIT_S.recorder);
  const away = unreachable(app, id, entry, fresh);
  // While it can't be reached: the last that was heard, with its age.
  const known = away && entry.heard ? entry.heard : entry;
  const known_fresh = away ? { ...app.judge(known, 0.001), stale: true } : fresh;
  motion_history(app, page, id, p, signal);
  return html`${away ? away_note(app, away, entry, known, known_fresh) : nothing}
    <div class="columns">
      <div class="column">${state_card(app, id, entry, fresh, known, known_fresh)}</div>
      <div class="column">${facts_card(app, known, known_fresh)}${motion_card(app, page, p, fresh)}${filter_card(p, fresh)}</div>
      <div class="column">${jobs_card(app)}</div>
    </div>`;
}

/** Why the recorder can't be reached, or null: what it or its source says. */
function unreachable(app, id, entry, fresh) {
  const source = app.store.slices.sources.get(id)?.payload;
  if (['absent', 'stale', 'error'].includes(source?.status)) return { why: source.last_error ?? word('source', source.status), since: source.last_seen ?? null };
  if (entry.payload.status === 'offline') return { why: word('recorder', 'offline'), since: entry.heard?.stamp ?? null };
  // A lost connection is said by the banner of the page; here it is only the recorder that is silent.
  return fresh.why === 'old' ? { why: t('recorder.silent'), since: entry.stamp } : null;
}

function away_note(app, away, entry, known, fresh) {
  return html`<p class="note away" data-tone="bad" data-away role="status">${icon('circle-slash')}<span>${away.since
    ? t('recorder.away_since', { why: away.why, time: clock(away.since, app.store.clock.now_ms()) }) : t('recorder.away', { why: away.why })}
    ${known.payload === entry.payload && !entry.heard ? nothing : t('recorder.last_known', { age: age_text(fresh) })}</span></p>`;
}

function state_card(app, id, entry, fresh, known, known_fresh) {
  const p = entry.payload;
  const name = p.name || id;
  const file = p.recording ? html`<a href=${`#/recordings?text=${encodeURIComponent(p.recording)}`}>${t('recorder.to_file', { file: p.recording })}</a>` : undefined;
  return card(`recorder-${id}`, {
    title: name,
    summary: age_tag(fresh),
    body: () => html`
      ${recorder_state(app, entry, fresh, file)}
      ${blocked_note(app, `recorder/${id}`)}
      ${typeof known.payload.level_db === 'number' ? recorder_level(known.payload, known_fresh) : nothing}
      ${levels(app, known, known_fresh)}
      ${recorder_actions(app, id, entry, fresh, auto(app, id, p, name))}
      ${listen(p.listen_url)}
      <p class="actions"><a class="button" href="#/recordings">${icon('audio-waveform')}<span>${t('recorder.to_recordings')}</span></a></p>`,
  });
}

function levels(app, entry, fresh) {
  const p = entry.payload;
  const reported = typeof p.trend_db_per_min === 'number';
  const by = fresh.stale ? null : reported ? p.trend_db_per_min : louder(entry);
  const steady = by === null || Math.abs(by) < STEADY_DB;
  const [tone, shape] = steady ? ['off', 'minus'] : ['busy', by > 0 ? 'arrow-up' : 'arrow-down'];
  const amount = { by: number(Math.abs(by ?? 0), 1) };
  const words = by === null ? DASH : steady ? t('recorder.steady')
    : reported ? t(by > 0 ? 'recorder.rising' : 'recorder.falling', amount) : t(by > 0 ? 'recorder.louder' : 'recorder.quieter', amount);
  return html`${entry.levels?.length ? level_course(entry.levels, app.store.clock.mono()) : nothing}
    <dl class="facts">
      ${fact(t('recorder.trend'), html`<span class="chip quiet" data-tone=${tone} data-trend>${icon(shape)}<span>${words}</span></span>`)}
      ${typeof p.noise_floor_db === 'number' ? fact(t('recorder.noise_floor'), html`<span class="num">${decibel(p.noise_floor_db)}</span>`) : nothing}
      ${typeof p.suggested_threshold_db === 'number' ? fact(t('recorder.suggested'), html`<span class="num">${decibel(p.suggested_threshold_db)}</span>`) : nothing}
    </dl>`;
}

/** The switch for starting by itself, where the recorder has one. */
function auto(app, id, p, name) {
  if (typeof p.auto !== 'boolean') return [];
  const order = { target: `recorder/${id}`, action: 'auto', path: `api/recorders/${encodeURIComponent(id)}/auto`, body: { on: !p.auto } };
  const blocked = Array.isArray(p.allowed_actions) && !p.allowed_actions.includes('auto') ? t('action.not_now', { state: word('recorder', p.status) }) : null;
  return [{ order, button: command_button(app, { order, label: t(p.auto ? 'recorder.auto_on' : 'recorder.auto_off'), shape: p.auto ? 'circle-check' : 'circle', pressed: p.auto, blocked, name }) }];
}

/** A link and nothing else: this page never loads it. */
function listen(url) {
  let address = null;
  try {
    address = new URL(url, location.href);
  } catch {
    return nothing;
  }
  if (!url || !['http:', 'https:'].includes(address.protocol)) return nothing;
  return html`<div class="actions"><a class="button" data-listen href=${address.href} target="_blank" rel="noopener noreferrer">${icon('headphones')}<span>${t('recorder.listen', { host: address.host })}</span></a></div>`;
}

function facts_card(app, entry, fresh) {
  const p = entry.payload;
  const now = app.store.clock.now_ms();
  const stop = p.last_stop;
  const born = stop && app.store.clock.born(stop.at);
  const ago = born === null || born === undefined ? null : (app.store.clock.mono() - born) / 1_000;
  return card('recorder-facts', {
    title: t('recorder.facts'),
    summary: fresh.stale ? age_tag(fresh) : null,
    body: () => html`<dl class="facts wide" ?data-stale=${fresh.stale}>
      ${fact(t('recorder.triggers'), p.triggers?.length ? p.triggers.map((name) => html`<span class="tag">${word('trigger', name)}</span>`) : t('recorder.no_triggers'))}
      ${fact(t('recorder.mode'), p.mode ? word('recorder.mode', p.mode) : DASH)}
      ${fact(t('recorder.last_stop'), stop ? html`<span>${stop.reason}</span> <span class="num muted">${clock(stop.at, now)}${ago === null ? nothing : `, ${t('recorder.ago', { span: span(ago) })}`}</span>` : DASH)}
      ${fact(t('recorder.size'), html`<span class="num">${bytes(p.bytes)}</span>`)}
      ${typeof p.max_s === 'number' ? fact(t('recorder.max'), html`<span class="num">${duration(p.max_s)}</span>`) : nothing}
      ${typeof p.split_count === 'number' ? fact(t('recorder.splits'), html`<span class="num">${count(p.split_count)}</span>`) : nothing}
      ${typeof p.overruns === 'number' ? fact(t('recorder.overruns'), html`<strong class="num" data-tone=${p.overruns ? 'bad' : 'good'}>${count(p.overruns)}</strong>`) : nothing}
      ${typeof p.uptime_s === 'number' ? fact(t('recorder.uptime'), html`<span class="num">${duration(p.uptime_s + (fresh.stale ? 0 : fresh.age_s))}</span>`) : nothing}
      ${fact(t('recorder.free'), html`<span class="num">${span(p.free_s)}</span>`)}
    </dl>`,
  });
}

// ---- motion ----

function motion_card(app, page, p, fresh) {
  const m = p.motion;
  if (!m) return nothing;
  const now = app.store.clock.now_ms();
  const until = Date.parse(m.padding_until ?? '');
  const left = now === null || Number.isNaN(until) ? null : (until - now) / 1_000;
  const holds = !m.active && left !== null && left > 0;
  const state = m.active ? 'active' : holds ? 'padding' : 'quiet';
  const history = (page.motion ?? []).slice(0, HISTORY);
  return card('motion', {
    title: t('motion.title'),
    summary: fresh.stale ? age_tag(fresh) : null,
    body: () => html`<div class="row-head"><span data-motion=${state}>${chip('motion', state)}</span>
        ${holds ? html`<span class="num" data-countdown>${t('motion.countdown', { s: Math.ceil(left) })}</span>` : m.since ? html`<span class="num muted">${t('time.since', { time: clock(m.since, now) })}</span>` : nothing}</div>
      ${history.length ? html`<details class="markers" ?open=${page.motion_open} @toggle=${(e) => { page.motion_open = e.target.open; }}><summary>${t('motion.history')}</summary>
        <ul class="rows tight">${history.map((h) => html`<li class="row"><div class="row-sub spread"><span class="num">${clock(h.at, now)}</span><span>${word('motion', h.active ? 'active' : 'quiet')}</span><span class="muted">${h.source ?? ''}</span></div></li>`)}</ul></details>` : nothing}`,
  });
}

/** Asked for when the page is opened and whenever the recorder counts a change. */
function motion_history(app, page, id, p, signal) {
  if (!p.motion) return;
  const key = `${id}/${p.motion.sequence ?? ''}/${p.motion.active}`;
  if (page.motion_of === key) return;
  page.motion_of = key;
  read(`api/recorders/${encodeURIComponent(id)}/motion`, { signal }).then(({ body }) => {
    if (page.motion_of !== key) return;
    page.motion = body?.history ?? [];
    app.ticker.mark();
  }, () => {
    // Without its history the state still stands there.
  });
}

// ---- filter budget ----

function filter_card(p, fresh) {
  const f = p.filter;
  if (!f) return nothing;
  const bar = (name, used, budget) => {
    if (typeof used !== 'number') return nothing;
    const share = budget > 0 ? used / budget : null;
    const over = share !== null && share > 1;
    return fact(t(`filter.${name}`), html`${progress(share, { label: t(`filter.${name}`), tone: over ? 'bad' : share > 0.8 ? 'warn' : 'good', figure: false })}
      <span class="num" data-tone=${over ? 'bad' : nothing}>${budget > 0 ? t('filter.of', { used: number(used), budget: number(budget) }) : `${number(used)} ms`}</span>${over ? chip('alert', 'MAJOR', { quiet: true, text: t('filter.over') }) : nothing}`);
  };
  return card('filter', {
    title: t('filter.title'),
    summary: fresh.stale ? age_tag(fresh) : null,
    body: () => html`<dl class="facts wide" ?data-stale=${fresh.stale}>${bar('avg', f.avg_ms, f.budget_ms)}${bar('peak', f.peak_ms, f.budget_peak_ms ?? f.budget_ms)}</dl>`,
  });
}

// ---- jobs ----

function jobs_card(app) {
  const { jobs } = app.store.slices;
  const counts = job_counts(jobs);
  return card('jobs', {
    title: t('jobs.title'),
    summary: jobs.size ? html`<span class="num">${t('jobs.summary', { running: count(counts.running), queued: count(counts.queued) })}</span>${
      counts.deferred ? html` · <span class="num">${t('jobs.deferred', { n: counts.deferred })}</span>` : nothing}${
      counts.failed ? html` · <strong data-tone="bad">${t('jobs.failed', { n: counts.failed })}</strong>` : nothing}` : null,
    body: () => (jobs.size ? html`<ul class="rows">${repeat(shown_jobs(jobs, JOBS), ({ id }) => id, ({ id, entry }) => job_detail(app, id, entry))}</ul>
      ${jobs.size > JOBS ? html`<p class="more">${t('list.more', { n: jobs.size - JOBS })}</p>` : nothing}` : empty(app, t('jobs.none'))),
  });
}
