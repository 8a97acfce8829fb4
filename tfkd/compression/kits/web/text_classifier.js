// The model of this folder in a browser. `npm install` brings LiteRT.js; nothing else is fetched.
//
//     const classifier = await TextClassifier.load("./");
//     await classifier.predict("Oil prices fell again on Friday.");

import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";
import { WordPieceTokenizer } from "./wordpiece.js";

export class TextClassifier {
  /** @param {string} folder Address of this folder, with a slash at its end. */
  static async load(folder = "./") {
    const [settings, codePoints, vocabulary] = await Promise.all([
      read(`${folder}settings.json`).then((answer) => answer.json()),
      read(`${folder}code_points.json`).then((answer) => answer.json()),
      read(`${folder}vocabulary.txt`).then((answer) => answer.text()),
      loadLiteRt(`${folder}node_modules/@litertjs/core/wasm/`),
    ]);
    const model = await loadAndCompile(`${folder}model.tflite`, { accelerator: "wasm" });
    const tokenizer = new WordPieceTokenizer(
      vocabulary.split("\n"),
      codePoints[settings.lowercase ? "uncased" : "cased"],
      settings.sequence_length,
    );
    return new TextClassifier(settings, tokenizer, model);
  }

  constructor(settings, tokenizer, model) {
    Object.assign(this, { settings, tokenizer, model });
    // One signature for each length, over the same weights: tokens_32, tokens_64, ...
    this.lengths = Object.keys(model.signatures)
      .map((name) => Number(name.replace("tokens_", "")))
      .sort((one, other) => one - other);
  }

  /** The model's own numbers for a text, or for the two of a pair. */
  async logits(first, second) {
    const { ids, segments } = this.tokenizer.encode(first, second);
    const length = this.lengths.find((one) => one >= ids.length);
    const signature = this.model.signatures[`tokens_${length}`];
    const rows = {
      token_ids: Int32Array.from({ length }, (_, at) => ids[at] ?? this.tokenizer.padding),
      padding_mask: Int32Array.from({ length }, (_, at) => (at < ids.length ? 1 : 0)),
      segment_ids: Int32Array.from({ length }, (_, at) => segments[at] ?? 0),
    };
    const inputs = {};
    for (const { name } of signature.getInputDetails()) {
      inputs[name] = new Tensor(rows[name], [1, length]);
    }
    const { logits } = await signature.run(inputs);
    const values = Array.from(await logits.data());
    for (const tensor of [logits, ...Object.values(inputs)]) tensor.delete();
    return values;
  }

  /** Probabilities in the order of the labels; of a regression the score itself. */
  async scores(first, second) {
    const logits = await this.logits(first, second);
    if (this.settings.task === "regression") return logits;
    if (this.settings.task === "multi_label") return logits.map((one) => 1 / (1 + Math.exp(-one)));
    const powers = logits.map((one) => Math.exp(one - Math.max(...logits)));
    const total = powers.reduce((sum, one) => sum + one, 0);
    return powers.map((one) => one / total);
  }

  /** `{labels, scores}`: the likeliest label, or those above their thresholds; and every score. */
  async predict(first, second) {
    const { task, label_names: names, thresholds } = this.settings;
    const values = await this.scores(first, second);
    const best = values.indexOf(Math.max(...values));
    const given = (at) => (task === "multi_label" ? values[at] > thresholds[at] : at === best);
    return {
      labels: task === "regression" ? [] : names.filter((_, at) => given(at)),
      scores: Object.fromEntries(names.map((name, at) => [name, values[at]])),
    };
  }
}

async function read(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`Expected ${address}. Received: ${answer.status}.`);
  return answer;
}
