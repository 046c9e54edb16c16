// Text the person takes along: to the clipboard or as a file. The newer clipboard interface does not exist on plain http;
// this one does.

/** Copies; false when the browser refused. */
export function copy_text(text) {
  const place = document.createElement('textarea');
  place.value = text;
  place.className = 'visually-hidden';
  place.setAttribute('aria-hidden', 'true');
  const before = document.activeElement;
  document.body.append(place);
  place.select();
  try {
    return document.execCommand('copy');
  } catch {
    return false;
  } finally {
    place.remove();
    before?.focus?.({ preventScroll: true });
  }
}

/** Offers a text file for download. */
export function save_text(name, text) {
  const href = URL.createObjectURL(new Blob([text], { type: 'text/plain;charset=utf-8' }));
  const link = Object.assign(document.createElement('a'), { href, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}
