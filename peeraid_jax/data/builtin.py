"""The data sets of this package; `peeraid_jax.data` registers them."""

from peeraid_jax.data import archives, digits, facts, folder

_DIGITS = tuple('0123456789')
_CIFAR10 = (
  'airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse',
  'ship', 'truck',
)  # fmt: skip

# SHA-256 are those that TFDS publishes with its builders, unless noted.
ENTRIES = {
  'digits': facts.Source(
    shape=(8, 8, 1),
    num_classes=10,
    load=digits.load,
    train=1437,
    test=digits.TEST_EXAMPLES,
    class_names=_DIGITS,
  ),
  'cifar10': facts.Source(
    shape=(32, 32, 3),
    num_classes=10,
    train=50_000,
    test=10_000,
    class_names=_CIFAR10,
    can_stream=True,
    tfds='cifar10',
    version='3.0.2',
    archives=('cifar-10-binary.tar.gz',),
    sha256=(
      'c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd',
    ),
    url='https://www.cs.toronto.edu/~kriz/',
    size='162 MiB',
    read_archives=archives.read_cifar,
  ),
  'cifar100': facts.Source(
    shape=(32, 32, 3),
    num_classes=100,
    train=50_000,
    test=10_000,
    can_stream=True,
    tfds='cifar100',
    version='3.0.2',
    archives=('cifar-100-binary.tar.gz',),
    sha256=(
      '58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec',
    ),
    url='https://www.cs.toronto.edu/~kriz/',
    size='161 MiB',
    read_archives=archives.read_cifar,
  ),
  'svhn': facts.Source(
    shape=(32, 32, 3),
    num_classes=10,
    train=73_257,
    test=26_032,
    class_names=_DIGITS,
    can_stream=True,
    tfds='svhn_cropped',
    version='3.1.0',
    archives=('train_32x32.mat', 'test_32x32.mat'),
    sha256=(
      '435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8',
      'cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b',
    ),
    # The host is not known to serve HTTPS; the checksums make up for it.
    url='http://ufldl.stanford.edu/housenumbers/',
    size='235 MiB',
    read_archives=archives.read_svhn,
  ),
  # TFDS does not know this one: name and version are ours. Its test labels are
  # not public, so 'test' is the official validation set.
  'tinyimagenet': facts.Source(
    shape=(64, 64, 3),
    num_classes=archives.TINY_IMAGENET_CLASSES,
    train=100_000,
    test=10_000,
    can_stream=True,
    tfds='tiny_imagenet',
    version='1.0.0',
    archives=('tiny-imagenet-200.zip',),
    # Stanford publishes no checksum. Independent projects have recorded this
    # one of their downloads, which have 248,100,043 bytes.
    sha256=(
      '6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821',
    ),
    url='https://cs231n.stanford.edu/',
    size=archives.TINY_IMAGENET_SIZE,
    read_archives=archives.read_tiny_imagenet,
  ),
  # 'test' is the official validation set here as well.
  'imagenet': facts.Source(
    shape=(0, 0, 3),
    num_classes=1000,
    train=1_281_167,
    test=50_000,
    can_stream=True,
    must_stream=True,
    tfds='imagenet2012',
    version='5.1.0',
    archives=('ILSVRC2012_img_train.tar', 'ILSVRC2012_img_val.tar'),
    sha256=(
      'b08200a27a8e34218a0e58fde36b0fe8f73bc377f4acea2d91602057c3ca45bb',
      'c7e06a6c0baccf06d8dbeb6577d71efff84673a5dbdd50633ab44f8ea0456ae0',
    ),
    # A page rather than a folder; messages put the file names after it.
    url='https://image-net.org/download-images: ',
    size='144 GiB',
    test_split='validation',
    by_hand=True,
    id_feature='file_name',
    read_archives=archives.read_imagenet,
  ),
  # The user's own images, in one sub-folder per class, which are counted.
  'folder': facts.Source(
    shape=(0, 0, 3), num_classes=0, load=folder.load, can_stream=True
  ),
}
