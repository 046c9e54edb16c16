// SPDX-License-Identifier: GPL-2.0
/*
 * An input pin that can be moved from inside an emulated Pi.
 *
 * QEMU's model of the BCM2835 GPIO block holds levels and detects no edges. Writing "17 1" to
 * /proc/edgepin does what the silicon would: the level register changes, and where a
 * consumer has asked for that edge the line's own interrupt handler runs, so that everything above it (the pinctrl
 * driver's interrupt, gpiolib's event queue, the character device, rppal) is the real thing.
 *
 * The module is loaded only in the guest of cross/emulate. It is built against the guest's kernel, never shipped.
 */
#include <linux/gpio/consumer.h>
#include <linux/gpio/driver.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/irq.h>
#include <linux/irqdesc.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/uaccess.h>

/* BCM2835 ARM Peripherals, chapter 6: one bit a line, two words each. */
#define SET_LEVEL 0x1c
#define CLEAR_LEVEL 0x28
#define READ_LEVEL 0x34
#define LINES 54

static ulong registers = 0x3f200000;
module_param(registers, ulong, 0444);
MODULE_PARM_DESC(registers, "physical address of the GPIO block");

static void __iomem *block;
static struct gpio_device *chip;

static void move(unsigned int line, bool high)
{
	unsigned int word = 4 * (line / 32);
	u32 bit = BIT(line % 32);
	bool was = readl(block + READ_LEVEL + word) & bit;
	struct gpio_desc *desc = gpio_device_get_desc(chip, line);
	int irq;

	writel(bit, block + (high ? SET_LEVEL : CLEAR_LEVEL) + word);
	if (was == high || IS_ERR(desc))
		return;
	irq = gpiod_to_irq(desc);
	if (irq <= 0 || !irq_has_action(irq))
		return;
	if (irq_get_trigger_type(irq) & (high ? IRQ_TYPE_EDGE_RISING : IRQ_TYPE_EDGE_FALLING))
		generic_handle_irq_safe(irq);
}

static ssize_t edgepin_write(struct file *file, const char __user *from, size_t count, loff_t *offset)
{
	unsigned int line, level;
	char text[16] = {};

	if (count >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, from, count))
		return -EFAULT;
	if (sscanf(text, "%u %u", &line, &level) != 2 || line >= LINES)
		return -EINVAL;
	move(line, level);
	return count;
}

static const struct proc_ops operations = { .proc_write = edgepin_write };

static int __init edgepin_init(void)
{
	chip = gpio_device_find_by_label("pinctrl-bcm2835");
	if (!chip)
		return -ENODEV;
	block = ioremap(registers, 0x100);
	if (block && proc_create("edgepin", 0200, NULL, &operations))
		return 0;
	if (block)
		iounmap(block);
	gpio_device_put(chip);
	return -ENOMEM;
}

static void __exit edgepin_exit(void)
{
	remove_proc_entry("edgepin", NULL);
	iounmap(block);
	gpio_device_put(chip);
}

module_init(edgepin_init);
module_exit(edgepin_exit);
MODULE_DESCRIPTION("moves input pins of an emulated Raspberry Pi");
MODULE_LICENSE("GPL");
