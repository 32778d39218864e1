/** Words of a search in a text, as the server compares them: without case and accents; `light*` is a beginning. */

export interface Part {
  text: string;
  found: boolean;
}

function folded(text: string): string {
  return text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase().replaceAll('đ', 'd');
}

/** The text in parts, of which some are words of the query. */
export function marked(text: string, query: string): Part[] {
  const words = query.split(/\s+/u).flatMap((word) => folded(word).match(/[\p{L}\p{N}]+\*?/gu) ?? []);
  if (words.length === 0) return [{ text, found: false }];
  const ideographs = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]/u;
  const parts: Part[] = [];
  const add = (piece: string, found: boolean) => {
    if (!piece) return;
    const last = parts.at(-1);
    if (last && last.found === found) last.text += piece;
    else parts.push({ text: piece, found });
  };
  const spaceless = words.filter((word) => ideographs.test(word)).map((word) => word.replace('*', ''));
  for (const piece of text.split(/([^\p{L}\p{M}\p{N}]+)/u)) {
    const plain = folded(piece);
    const whole = words.some((word) => (word.endsWith('*') ? plain.startsWith(word.slice(0, -1)) : plain === word));
    const inside = spaceless.find((word) => plain.includes(word));
    if (whole || !inside || plain.length !== piece.length) {
      add(piece, whole);
      continue;
    }
    for (let at = 0; ; ) {
      const next = plain.indexOf(inside, at);
      add(piece.slice(at, next < 0 ? undefined : next), false);
      if (next < 0) break;
      at = next + inside.length;
      add(piece.slice(next, at), true);
    }
  }
  return parts;
}

/** The part of a long text around the first word that was found. */
export function excerpt(parts: readonly Part[], chars = 160): Part[] {
  const first = parts.findIndex((part) => part.found);
  if (first < 1) return [...parts];
  const before = parts.slice(0, first).map((part) => part.text).join('');
  const cut = before.length > chars ? `…${before.slice(before.length - chars / 2)}` : before;
  return [{ text: cut, found: false }, ...parts.slice(first)];
}
