// Made by tests/www/files.test.mjs (TELLTALE_TEST_BLESS=1): what is loaded after the first page, each file after what it
// imports, so that loading one after the other never asks for two at a time.

export const LATER = [
  'css/ops.css',
  'js/core/remote.js',
  'js/state/alarm.js',
  'js/core/alarm.js',
  'js/parts/alarm_choice.js',
  'js/parts/alert_detail.js',
  'js/parts/remote.js',
  'js/state/alert_list.js',
  'js/views/alerts.js',
  'js/parts/log_panel.js',
  'js/parts/take_away.js',
  'js/state/log.js',
  'js/views/log.js',
  'js/parts/services.js',
  'js/state/source.js',
  'js/state/config.js',
  'js/parts/form.js',
  'js/views/config.js',
  'js/views/source.js',
  'js/views/system.js',
  'js/views/settings.js',
  'js/views/more.js',
  'js/views/login.js',
];
