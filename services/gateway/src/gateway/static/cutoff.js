// Where search results stop being good: at the largest gap between neighbouring scores.

const LEAST = 3; // results that are always shown
const GAP = 0.12; // of the best score; smaller steps are no gap

/** How many of these scores (best first) to show before "Show weaker". */
export function strong(scores) {
  const best = scores[0] ?? 0;
  let cut = scores.length;
  let widest = GAP * best;
  for (let at = LEAST; at < scores.length; at += 1) {
    const gap = scores[at - 1] - scores[at];
    if (gap > widest) {
      widest = gap;
      cut = at;
    }
  }
  return cut;
}
