// The shared worker: one Link for all tabs of this browser. A tab joins by a port and says what it wants; what the
// link hands on goes to every tab. A tab that has not been heard of for long is forgotten, as ports do not say goodbye.

import { Link } from './link.js';

const FORGET_MS = 180_000;
const tabs = new Map();
let link = null;

function tell_all(message) {
  for (const [port, tab] of tabs) if (tab.joined) port.postMessage(message);
}

function want() {
  const all = [...tabs.values()];
  link.want(all.flatMap((t) => t.topics), all.flatMap((t) => t.types));
}

function leave(port) {
  if (!tabs.delete(port)) return;
  if (tabs.size) want();
  else link.stop();
}

function join(port, tab, message) {
  link ??= new Link({
    tell: {
      items: (items) => tell_all({ is: 'items', items }),
      status: (status) => tell_all({ is: 'status', status: { ...status, tabs: tabs.size } }),
    },
    settings: message.settings,
    transport: 'shared_worker',
  });
  link.settings(message.settings);
  Object.assign(tab, { topics: message.topics, types: message.types });
  link.flush();
  tab.joined = true;
  port.postMessage({ is: 'joined', items: link.picture(), status: { ...link.status(), tabs: tabs.size } });
  want();
  link.start();
}

self.onconnect = ({ ports: [port] }) => {
  const tab = { topics: [], types: [], heard: Date.now(), joined: false };
  tabs.set(port, tab);
  port.onmessage = ({ data }) => {
    tab.heard = Date.now();
    if (!tabs.has(port)) tabs.set(port, tab);
    switch (data.do) {
      case 'join': return join(port, tab, data);
      case 'want':
        Object.assign(tab, { topics: data.topics, types: data.types });
        return want();
      case 'settings': return link?.settings(data.settings);
      case 'wake': return link?.wake();
      case 'restart': return link?.restart();
      case 'leave': return leave(port);
      case 'status': return link && port.postMessage({ is: 'status', status: { ...link.status(), tabs: tabs.size } });
    }
  };
};

setInterval(() => {
  for (const [port, tab] of tabs) if (Date.now() - tab.heard > FORGET_MS) leave(port);
  link?.report();
}, 30_000);
