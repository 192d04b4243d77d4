export class SentenceSource {}
export function sentenceBlock() { return null; }
