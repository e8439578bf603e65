'use strict';
const $ = (id) => document.getElementById(id);
const count = (n) => Math.round(n).toLocaleString('en');
const bytes = (n) => {
  for (const [unit, size] of [['TB', 1e12], ['GB', 1e9], ['MB', 1e6], ['kB', 1e3]]) {
    if (n >= size) return (n / size).toFixed(n >= 100 * size ? 0 : 1) + ' ' + unit;
  }
  return Math.round(n) + ' B';
};
const span = (s) => {
  if (s < 90) return Math.round(s) + ' s';
  if (s < 5400) return Math.round(s / 60) + ' min';
  if (s < 172800) return (s / 3600).toFixed(1) + ' h';
  return (s / 86400).toFixed(1) + ' days';
};
const millis = (ms) => count(ms) + ' ms';

// make returns an element. Text is set as text, never as HTML: names of peers are strangers' words.
function make(tag, name, text) {
  const e = document.createElement(tag);
  if (name) e.className = name;
  if (text !== undefined) e.textContent = text;
  return e;
}

function cells(map, hex) {
  while (map.childElementCount < 256) {
    const cell = make('i');
    cell.title = map.childElementCount.toString(16).padStart(2, '0');
    map.append(cell);
  }
  let on = 0;
  for (let i = 0; i < 256; i++) {
    const set = (parseInt(hex[i >> 2], 16) & (8 >> (i & 3))) !== 0;
    if (set) on++;
    map.children[i].classList.toggle('on', set);
  }
  return on;
}

function showState(s) {
  const b = s.backfill;
  const full = s.phase === 'full';
  const share = full ? 1 : b ? b.share : 0;
  $('share').textContent = full ? 'all of it' : b ? (100 * share).toFixed(1) + ' %' : '';
  $('sharebar').style.width = 100 * share + '%';
  const filled = cells($('map'), full ? 'f'.repeat(64) : b && b.map ? b.map : '0'.repeat(64));
  $('map').setAttribute('aria-label', 'Key space of the accounts: ' + filled + ' of 256 slices are complete');
  if (full) {
    $('eta').textContent = 'This is a full node: it executes on its own disk.';
    $('large').replaceChildren();
    $('counts').textContent = '';
    return;
  }
  if (!b) {
    $('eta').textContent = 'The rest of the state is not collected.';
    return;
  }
  let words = 'How long it will take is not known yet.';
  if (b.eta > 0) {
    words = span(b.eta) + ' to go';
    if (span(b.etaLow) !== span(b.etaHigh)) words += ', likely ' + span(b.etaLow) + ' to ' + span(b.etaHigh);
    words += '; about ' + bytes(b.remaining) + ' at ' + bytes(b.rate) + '/s';
  }
  $('eta').textContent = words;
  $('counts').textContent = count(b.accounts) + ' accounts, ' + count(b.slots) + ' slots, ' + count(b.codes) + ' codes, ' + bytes(b.bytes) + ' received';
  showLarge(b.large);
}

function showLarge(large) {
  const box = $('large');
  if (!large.length) {
    box.replaceChildren();
    return;
  }
  if (!box.firstChild) box.append(make('h3', '', 'Large contracts'));
  const known = new Map([...box.querySelectorAll('div')].map((e) => [e.dataset.account, e]));
  for (const c of large) {
    let e = known.get(c.account);
    known.delete(c.account);
    if (!e) {
      e = make('div');
      e.dataset.account = c.account;
      e.append(make('p'), make('div', 'map'));
      e.firstChild.append(make('span', '', c.account.slice(0, 18) + '...'), make('span'));
      box.append(e);
    }
    const on = cells(e.lastChild, c.map);
    e.firstChild.lastChild.textContent = Math.round(on / 2.56) + ' %';
  }
  for (const e of known.values()) if (e.dataset.account) e.remove();
}

function timeBar(b, scale) {
  const cell = make('td', 'time');
  const bar = make('div');
  const waited = make('i', 'w');
  const executed = make('i', 'x');
  waited.style.width = 100 * b.waitMs / scale + '%';
  executed.style.width = 100 * Math.max(0, b.ms - b.waitMs) / scale + '%';
  bar.append(waited, executed);
  cell.append(bar);
  return cell;
}

function showBlocks(s) {
  const t = s.totals;
  $('totals').textContent = count(t.valid) + ' valid' + (t.invalid ? ', ' + count(t.invalid) + ' invalid' : '') + (t.incomplete ? ', ' + count(t.incomplete) + ' incomplete' : '');
  const rows = s.blocks.slice().reverse();
  const scale = Math.max(1, ...rows.map((b) => b.ms));
  $('blockrows').replaceChildren(...rows.map((b) => {
    const row = make('tr');
    row.append(make('td', '', count(b.number)), make('td', b.outcome, b.outcome), make('td', 'n', count(b.ms)), timeBar(b, scale));
    for (const v of [b.trips, b.faults, b.nodes]) row.append(make('td', 'n', count(v)));
    row.append(make('td', 'n', (b.gas / 1e6).toFixed(1)), make('td', 'n', count(b.txs)));
    return row;
  }));
  if (!rows.length) {
    const cell = make('td', 'none', 'No block was executed yet.');
    cell.colSpan = 9;
    const row = make('tr');
    row.append(cell);
    $('blockrows').append(row);
    return;
  }
  const last = rows[0];
  const own = Math.max(0, last.ms - last.waitMs);
  $('lastname').textContent = count(last.number);
  $('waited').style.width = last.ms ? 100 * last.waitMs / last.ms + '%' : '0';
  $('executed').style.width = last.ms ? 100 * own / last.ms + '%' : '0';
  $('waitms').textContent = millis(last.waitMs);
  $('execms').textContent = millis(own);
  $('lastwords').textContent = last.faults === 0 ? 'All of the state that it read was here.' :
    count(last.faults) + ' reads needed the network, in ' + count(last.trips) + (last.trips === 1 ? ' round trip: ' : ' round trips: ') + count(last.nodes) + ' nodes, ' + count(last.codes) + (last.codes === 1 ? ' code, ' : ' codes, ') + bytes(last.bytes) + '.';
}

function showPeers(peers) {
  $('peerrows').replaceChildren(...peers.map((p) => {
    const row = make('tr');
    const name = make('td', 'wide', p.name || 'unnamed');
    name.append(make('small', '', p.id.slice(0, 12) + (p.inbound ? ', called us' : '')));
    row.append(name, make('td', 'n', p.latencyMs ? count(p.latencyMs) : '-'), make('td', 'n', count(p.head)), make('td', 'wide', p.gives.join(', ')));
    return row;
  }));
  if (!peers.length) {
    const row = make('tr');
    row.append(make('td', 'none', 'No peers.'));
    $('peerrows').append(row);
  }
}

function show(s) {
  $('network').textContent = s.network;
  $('phase').textContent = s.phase;
  $('phase').className = 'badge ' + s.phase;
  $('waits').textContent = s.waits.length ? s.waits.join(' ') : 'The node serves the head of the chain.';
  $('waits').className = s.ready ? 'ready' : '';
  $('head').textContent = count(s.head);
  $('lag').textContent = count(Math.max(0, s.newest - s.head));
  $('peercount').textContent = s.peers.length;
  $('hot').textContent = bytes(s.disk.hot);
  $('free').textContent = s.disk.free ? bytes(s.disk.free) : '-';
  $('version').textContent = 'Sunbeam ' + s.version + (s.history.share < 1 ? '. Old blocks: ' + (100 * s.history.share).toFixed(1) + ' %, down to ' + count(s.history.oldest) + '.' : '');
  document.title = (s.phase === 'full' ? 'full' : s.backfill ? Math.floor(100 * s.backfill.share) + ' %' : s.phase) + ' - Sunbeam ' + count(s.head);
  showState(s);
  showBlocks(s);
  showPeers(s.peers);
}

// The stream is open only while the page is visible: a hidden one costs the node nothing.
let stream = null;
function open() {
  if (stream || document.hidden) return;
  stream = new EventSource('events');
  stream.onmessage = (event) => show(JSON.parse(event.data));
  stream.onerror = () => {
    $('phase').textContent = 'no connection';
    $('phase').className = 'badge off';
    $('waits').textContent = 'The node does not answer. The page goes on by itself when it does.';
    $('waits').className = 'off';
    if (stream && stream.readyState === EventSource.CLOSED) { // refused: too many pages
      stream = null;
      setTimeout(open, 5000);
    }
  };
}
document.addEventListener('visibilitychange', () => {
  if (location.search === '?once') return;
  if (!document.hidden) return open();
  if (stream) stream.close();
  stream = null;
});
if (location.search === '?once') fetch('state').then((r) => r.json()).then(show); // a still picture
else open();
