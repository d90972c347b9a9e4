"""FocalClick: a coarse pass over the object, a refined one around the newest change."""
