// English: the words of the chart, for the pages that have one.

export default {
  'chart.lock': 'Lock the scale',
  'chart.unlock': 'Auto-scale',
  'chart.table': 'As a table',
  'chart.over': 'Over {x}.',
  'chart.words': '{name}: {count} values from {least} to {most}, the last one {last}.',
  'chart.words_none': '{name}: no values.',
  'chart.words_gaps.one': '{n} gap.',
  'chart.words_gaps.other': '{n} gaps.',
};
