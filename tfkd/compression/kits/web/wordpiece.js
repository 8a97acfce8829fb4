// WordPiece tokens, the same as those of training. code_points.json says what becomes of a character.

const MAX_WORD_BYTES = 100;
const RULES = {
  blank: () => " ",
  dropped: () => "",
  alone: (character) => ` ${character} `,
  decomposed: (character) => character.normalize("NFD"),
};

export class WordPieceTokenizer {
  /**
   * @param {string[]} vocabulary The tokens in index order.
   * @param {object} codePoints What code_points.json holds for this kind of vocabulary.
   * @param {number} sequenceLength Longest row in tokens, special tokens included.
   */
  constructor(vocabulary, codePoints, sequenceLength) {
    this.sequenceLength = sequenceLength;
    this.indices = new Map(vocabulary.map((token, index) => [token, index]));
    [this.padding, this.unknown, this.start, this.end] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map(
      (token) => this.indices.get(token),
    );
    this.longestToken = vocabulary.reduce((most, token) => Math.max(most, token.length), 0);
    this.replaced = new Map(Object.entries(codePoints.replaced));
    this.ranges = Object.keys(RULES)
      .flatMap((rule) => codePoints[rule].map(([first, last]) => [first, last, rule]))
      .sort((one, other) => one[0] - other[0]);
  }

  /** Token ids and segments of a text, or of the two of a pair, without padding. */
  encode(first, second) {
    if (second === undefined) {
      const ids = [this.start, ...this.tokens(first, this.sequenceLength - 2), this.end];
      return { ids, segments: ids.map(() => 0) };
    }
    const limit = this.sequenceLength - 3;
    let [one, other] = [first, second].map((text) => this.tokens(text, limit));
    // Of two long texts each keeps half.
    one = one.slice(0, Math.max(Math.ceil(limit / 2), limit - other.length));
    other = other.slice(0, limit - one.length);
    const ids = [this.start, ...one, this.end, ...other, this.end];
    return { ids, segments: ids.map((_, place) => (place < one.length + 2 ? 0 : 1)) };
  }

  tokens(text, limit) {
    const found = [];
    for (const word of this.normalized(text).split(" ")) {
      if (found.length >= limit) break;
      if (word) found.push(...this.pieces(word));
    }
    return found.slice(0, limit);
  }

  /** The text with blanks between its words, as the vocabulary writes them. */
  normalized(text) {
    let written = "";
    for (const character of text) {
      if (!this.replaced.has(character)) this.replaced.set(character, this.rule(character));
      written += this.replaced.get(character);
    }
    return written;
  }

  rule(character) {
    const point = character.codePointAt(0);
    let [low, high] = [0, this.ranges.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.ranges[middle][0] <= point) low = middle + 1;
      else high = middle;
    }
    const range = this.ranges[low - 1];
    return range && point <= range[1] ? RULES[range[2]](character) : character;
  }

  /** Longest tokens first; a word that does not come out is unknown as a whole. */
  pieces(word) {
    if (new TextEncoder().encode(word).length > MAX_WORD_BYTES) return [this.unknown];
    const found = [];
    for (let start = 0; start < word.length; ) {
      let stop = Math.min(word.length, start + this.longestToken);
      let index;
      for (; stop > start && index === undefined; stop--) {
        index = this.indices.get((start ? "##" : "") + word.slice(start, stop));
      }
      if (index === undefined) return [this.unknown];
      found.push(index);
      start = stop + 1;
    }
    return found;
  }
}
