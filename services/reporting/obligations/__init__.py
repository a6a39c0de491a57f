"""What units report, and when it is due (DESIGN §5.2). So far: the forms of each campaign, as its definition has them."""
