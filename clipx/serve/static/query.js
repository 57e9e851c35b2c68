/** The written form of a query, as `clipx search` reads it: `a dog + a sketch - 0.5* a photo`, "quotes" make text. */

/**
 * Reads a query. What is being typed may end in a sign or within quotes: what is there counts.
 * @param {string} text
 * @returns {{text: string, weight: number}[]} weights are negative where a term is taken away.
 */
export function parseQuery(text) {
  const terms = [];
  const sign = /\s*(?:([+-])(?=\s|$))?\s*/y;
  let at = 0;
  while (at < text.length) {
    sign.lastIndex = at;
    const found = sign.exec(text);
    at = sign.lastIndex;
    const negative = found[1] === "-";
    const weighed = /^(\d+(?:\.\d*)?|\.\d+)\s*\*\s*/.exec(text.slice(at));
    if (weighed) at += weighed[0].length;
    let words;
    if (text[at] === '"') {
      const close = text.indexOf('"', at + 1);
      words = text.slice(at + 1, close < 0 ? undefined : close);
      at = close < 0 ? text.length : close + 1;
    } else {
      const next = /\s[+-](?=\s|$)/.exec(text.slice(at));
      const end = next ? at + next.index : text.length;
      words = text.slice(at, end);
      at = end;
    }
    const weight = weighed ? Number(weighed[1]) : 1;
    if (words.trim() && weight > 0) terms.push({ text: words.trim(), weight: negative ? -weight : weight });
  }
  return terms;
}

/**
 * Writes a query, such that `parseQuery` reads the same terms.
 * @param {{text: string, weight: number}[]} terms
 * @returns {string}
 */
export function formatQuery(terms) {
  return terms
    .map(({ text, weight }, i) => {
      const sign = weight < 0 ? "- " : i ? "+ " : "";
      const size = Math.abs(weight) === 1 ? "" : `${Math.abs(weight)}* `;
      const plain = !/(^|\s)[+-](\s|$)|^"|^[\d.]+\s*\*/.test(text);
      return sign + size + (plain ? text : `"${text.replaceAll('"', "'")}"`);
    })
    .join(" ");
}
