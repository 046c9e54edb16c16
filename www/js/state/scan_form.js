// A scan as it is put together in a form: a draft of texts, as typed, and the description that is sent. Pure. What the form
// has no field for (steps, before, always, ...) is edited as JSON text.

/** A draft with one axis and nothing chosen. */
export const blank = () => ({
  name: '', axes: [axis()], measure: [], repeat: '1', interval_s: '', count: '', samples: '1', on_error: 'pause', after: 'stay', rest: {},
});

export const axis = (more = {}) => ({ set: '', start: '', stop: '', points: '', settle_s: '', snake: false, rest: {}, ...more });

/** What `on_error` may be, as the form has it. */
export const ON_ERROR = ['pause', 'abort', 'skip_point', 'retry'];
export const AFTER = ['stay', 'return'];
const RETRY = { retry: 3, then: 'pause' };

/** The number of a text, undefined for none; what is no number stays text, for the daemon to say what was expected. */
export function number_of(text) {
  const said = String(text ?? '').trim().replace(/^([+-]?\d+),(\d+)$/, '$1.$2');
  if (said === '') return undefined;
  return /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(said) ? Number(said) : said;
}

const without_undefined = (object) => Object.fromEntries(Object.entries(object).filter(([, v]) => v !== undefined && v !== ''));

/** The description of a draft: only what differs from the defaults. */
export function describe(draft) {
  const axes = draft.axes.map((a) => without_undefined({
    ...a.rest, set: a.set, start: number_of(a.start), stop: number_of(a.stop), points: number_of(a.points),
    settle_s: number_of(a.settle_s) === 0 ? undefined : number_of(a.settle_s), snake: a.snake || undefined,
  }));
  const repeat = number_of(draft.repeat);
  const samples = number_of(draft.samples);
  return without_undefined({
    ...draft.rest,
    name: draft.name.trim() || undefined,
    axes: axes.length ? axes : undefined,
    measure: draft.measure,
    repeat: repeat === 1 ? undefined : repeat,
    interval_s: number_of(draft.interval_s),
    count: draft.axes.length ? undefined : number_of(draft.count),
    samples: samples === 1 ? undefined : samples,
    on_error: draft.on_error === 'pause' ? undefined : draft.on_error === 'retry' ? draft.rest.on_error ?? RETRY : draft.on_error,
    after: draft.after === 'stay' ? undefined : draft.after,
  });
}

const AXIS_KEYS = ['set', 'start', 'stop', 'points', 'settle_s', 'snake'];
const KEYS = ['name', 'axes', 'measure', 'repeat', 'interval_s', 'count', 'samples', 'after'];

/** A draft of a description; null when the form can't show it (steps, lists of values, several scans). */
export function draft_of(description) {
  if (typeof description !== 'object' || description === null || Array.isArray(description) || 'steps' in description) return null;
  const { axes = [], measure = [], on_error = 'pause', after = 'stay' } = description;
  if (!Array.isArray(axes) || !Array.isArray(measure) || axes.some((a) => typeof a !== 'object' || a === null || 'values' in a || 'step' in a)) return null;
  if (typeof after !== 'string' || !AFTER.includes(after)) return null;
  const kept = (object, keys) => Object.fromEntries(Object.entries(object).filter(([key]) => !keys.includes(key)));
  const text = (value, none = '') => (value === undefined || value === null ? none : String(value));
  const plain = typeof on_error === 'string';
  if (plain && !ON_ERROR.includes(on_error)) return null;
  return {
    name: text(description.name),
    axes: axes.map((a) => ({ set: text(a.set), start: text(a.start), stop: text(a.stop), points: text(a.points), settle_s: text(a.settle_s), snake: a.snake === true, rest: kept(a, AXIS_KEYS) })),
    measure: measure.map(String), repeat: text(description.repeat, '1'), interval_s: text(description.interval_s), count: text(description.count),
    samples: text(description.samples, '1'), on_error: plain ? on_error : 'retry', after, rest: kept(description, plain ? [...KEYS, 'on_error'] : KEYS),
  };
}

/** Points of a draft, or null while that is not known. */
export function points_of(draft) {
  const parts = draft.axes.length ? draft.axes.map((a) => number_of(a.points)) : [number_of(draft.count)];
  const product = [...parts, number_of(draft.repeat) ?? 1].reduce((n, part) => n * part, 1);
  return Number.isInteger(product) && product > 0 ? product : null;
}

/** The distance of the points of an axis, or null. */
export function step_of({ start, stop, points }) {
  const [from, to, n] = [start, stop, points].map(number_of);
  return [from, to, n].every((v) => typeof v === 'number') && n > 1 ? (to - from) / (n - 1) : null;
}

/** A description from text: {description} or {fault: {line, reason}}. */
export function parse(text) {
  try {
    return { description: JSON.parse(text) };
  } catch (error) {
    const at = /position (\d+)/.exec(error.message);
    return { fault: { line: at ? text.slice(0, Number(at[1])).split('\n').length : null, reason: error.message } };
  }
}

export const text_of = (description) => JSON.stringify(description, null, 2);

// ---- channels ----

/** Every channel of every instrument: {name, instrument, channel, unit, settable, limits, words, value}. */
export function channels_of(instruments) {
  return [...instruments].flatMap(([id, { payload }]) => Object.entries(payload.channels ?? {}).map(([channel, c]) => ({
    name: `${id}.${channel}`, instrument: id, channel, unit: c.unit ?? null, settable: c.settable === true, readable: c.readable !== false, limits: c.limits?.control ?? null,
    words: c.words ?? [], value: c.value ?? null,
  }))).sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Why a number can't be set on a channel: {low, high} that it breaks, or null. */
export function beyond(limits, value) {
  if (typeof value !== 'number' || !limits) return null;
  const { low, high } = limits;
  return (typeof low === 'number' && value < low) || (typeof high === 'number' && value > high) ? { low: low ?? null, high: high ?? null } : null;
}

/**
 * Faults that are plain without asking: [{field, code, limits}] as the daemon names fields. What is still empty is none:
 * the daemon says what is missing when it is asked.
 */
export function faults_of(draft, channels) {
  return draft.axes.flatMap((a, i) => {
    const limits = channels.find((c) => c.name === a.set)?.limits;
    return ['start', 'stop', 'points', 'settle_s'].flatMap((key) => {
      const value = number_of(a[key]);
      if (typeof value === 'string') return [{ field: `axes[${i}].${key}`, code: 'number' }];
      const broken = key === 'start' || key === 'stop' ? beyond(limits, value) : null;
      return broken ? [{ field: `axes[${i}].${key}`, code: 'limits', ...broken }] : [];
    });
  });
}

/** The faults of one field; with `below`, of everything in it as well. */
export function faults_at(faults, field, below = false) {
  return faults.filter((f) => f.field === field || (below && (f.field?.startsWith(`${field}[`) || f.field?.startsWith(`${field}.`))));
}

/** Faults that belong to no field that the form shows. */
export function faults_elsewhere(faults, draft) {
  const shown = ['name', 'measure', 'repeat', 'interval_s', 'count', 'samples', 'on_error', 'after',
    ...draft.axes.flatMap((_, i) => ['set', 'start', 'stop', 'points', 'settle_s', 'snake'].map((key) => `axes[${i}].${key}`))];
  return faults.filter((f) => !shown.includes(f.field) && !/^measure\[/.test(f.field ?? ''));
}
