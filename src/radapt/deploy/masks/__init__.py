"""How good a mask is likely to be: predicted Dice, its lower bound, an uncertainty map, and when to abstain."""
