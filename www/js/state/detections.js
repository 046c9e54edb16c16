// Detections: the summary and the newest few.

/** As many as the overview shows. */
export const RECENT = 3;

export const detections = {
  name: 'detections',
  types: ['detection', 'detection_summary'],
  initial: () => ({ summary: null, recent: [] }),
  reduce(before, entries, whole) {
    let { summary, recent } = before;
    if (whole) summary = null;
    for (const entry of entries) {
      if (entry.type === 'detection_summary') summary = entry;
      else recent = [entry, ...recent].slice(0, RECENT);
    }
    return { summary, recent };
  },
};
