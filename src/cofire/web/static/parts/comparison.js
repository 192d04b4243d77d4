export function comparisonBlock() { return null; }
