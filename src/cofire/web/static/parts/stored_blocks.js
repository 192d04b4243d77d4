export function storedBlocks() { return []; }
