// Deutsch: die Wörter des Diagramms, für die Seiten, die eines haben.

export default {
  'chart.lock': 'Skala festhalten',
  'chart.unlock': 'Skala folgen lassen',
  'chart.table': 'Als Tabelle',
  'chart.over': 'Über {x}.',
  'chart.words': '{name}: {count} Werte von {least} bis {most}, zuletzt {last}.',
  'chart.words_none': '{name}: keine Werte.',
  'chart.words_gaps.one': '{n} Lücke.',
  'chart.words_gaps.other': '{n} Lücken.',
};
