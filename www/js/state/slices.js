// Every slice of the store. A new resource kind is a new file and a row here.

import { alerts } from './alerts.js';
import { detections } from './detections.js';
import { health } from './health.js';
import { instruments } from './instruments.js';
import { jobs } from './jobs.js';
import { queues } from './queues.js';
import { recorders } from './recorders.js';
import { scans } from './scans.js';
import { services } from './services.js';
import { signals } from './signals.js';
import { sources } from './sources.js';
import { streams } from './streams.js';

export const SLICES = [recorders, jobs, queues, scans, instruments, signals, streams, detections, alerts, services, sources, health];
