// Every page there is. A new page is a file in this folder and a row here; `nav: false` keeps it out of the menu; 'wide'
// and 'wider' put it there on screens that have the room, else it is under "More"; 'more' only there. `under` is
// the page whose entry of the menu is marked while this one is open; `menu` another word for it there.
// A view's module exports `open(app, route, signal)`, which gives {title(), draw()}; see docs/page.md.

import { style } from '../core/dom.js';
import * as i18n from '../core/i18n.js';

/** A page with words and a stylesheet of its own, which the first page does not load; `more` are packs that it shares. */
const with_pack = (pack, load, ...more) => async () => (await Promise.all([load(), ...[pack, ...more].flatMap((name) => [i18n.add(name), style(`css/${name}.css`)])]))[0];

export const VIEWS = [
  { name: 'overview', icon: 'layout-dashboard', nav: true, load: () => import('./overview.js') },
  { name: 'recordings', icon: 'audio-waveform', nav: true, load: with_pack('recordings', () => import('./recordings.js')) },
  { name: 'recorder', icon: 'mic', nav: false, load: with_pack('recordings', () => import('./recorder.js')) },
  { name: 'queues', menu: 'lab', icon: 'list-ordered', nav: 'wide', load: with_pack('lab', () => import('./queues.js'), 'ops') },
  { name: 'queue', under: 'queues', load: with_pack('lab', () => import('./queue.js'), 'ops') },
  { name: 'scans', icon: 'search', nav: 'more', under: 'queues', load: with_pack('lab', () => import('./scans.js'), 'ops') },
  { name: 'scan', under: 'queues', load: with_pack('lab', () => import('./scan.js'), 'ops', 'chart') },
  { name: 'instruments', icon: 'microscope', nav: 'more', under: 'queues', load: with_pack('lab', () => import('./instruments.js'), 'ops') },
  { name: 'instrument', under: 'queues', load: with_pack('lab', () => import('./instrument.js'), 'ops') },
  { name: 'signals', icon: 'trending-up', nav: 'wide', load: with_pack('live', () => import('./signals.js'), 'chart') },
  { name: 'streams', icon: 'radio', nav: 'wide', load: with_pack('live', () => import('./streams.js'), 'chart') },
  { name: 'detections', icon: 'scan-eye', nav: 'wide', load: with_pack('live', () => import('./detections.js')) },
  { name: 'alerts', icon: 'bell', nav: 'wide', load: with_pack('ops', () => import('./alerts.js')) },
  { name: 'log', icon: 'scroll-text', nav: true, load: with_pack('ops', () => import('./log.js')) },
  { name: 'system', icon: 'cpu', nav: 'wide', load: with_pack('ops', () => import('./system.js')) },
  { name: 'settings', icon: 'settings', nav: 'wide', load: () => import('./settings.js') },
  { name: 'more', icon: 'ellipsis', nav: 'narrow', load: () => import('./more.js') },
  { name: 'login', icon: 'key-round', nav: false, load: () => import('./login.js') },
];
