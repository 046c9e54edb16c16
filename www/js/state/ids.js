// Ids of events and their order. Pure.

/** `<epoch>-<seq>` -> [epoch, seq]; null for anything else. */
export function parse_id(text) {
  const parts = /^(\d{1,20})-(\d{1,20})$/.exec(text ?? '');
  return parts && [Number(parts[1]), Number(parts[2])];
}

/** Whether id `a` comes after id `b`; anything comes after nothing. */
export function is_after(a, b) {
  const [left, right] = [parse_id(a), parse_id(b)];
  if (!right) return true;
  if (!left) return false;
  return left[0] === right[0] ? left[1] > right[1] : left[0] > right[0];
}
