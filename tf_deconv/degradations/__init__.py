"""What happened to the pictures: tasks, and the forward operators that they chain."""
